//! A program that was started for a test: its own process group, its output kept, its end certain, even if the test is killed.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::sync::watch;

use crate::{until, within};

/// With what a program ended that was waited for, and all that it wrote.
///
/// # Panics
/// When a signal ended it, or it wrote something else than text.
pub fn said(output: &std::process::Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code().expect("it ends by itself"), String::from_utf8(text).expect("it writes text"))
}

/// A running program. Dropping it kills it with all that it has started, and shows its output if the test fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    output: Output,
    readers: Vec<JoinHandle<()>>,
}

/// What a program has written, line by line, and news of it.
#[derive(Clone, Debug)]
struct Output {
    lines: Arc<Mutex<Vec<String>>>,
    news: watch::Sender<News>,
}

#[derive(Clone, Copy, Debug, Default)]
struct News {
    lines: usize,
    open_pipes: usize,
}

impl Process {
    /// Starts a program.
    ///
    /// # Panics
    /// When that fails.
    pub fn start(name: &str, command: Command) -> Self {
        let mut command = ending_with_us(&command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let output = Output { lines: Arc::default(), news: watch::Sender::default() };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let readers = [stdout.map(|pipe| output.read(pipe)), stderr.map(|pipe| output.read(pipe))];
        Self { name: name.to_owned(), child, status: None, output, readers: readers.into_iter().flatten().collect() }
    }

    /// Waits for a line of output that `find` makes something of; lines that were written before count.
    ///
    /// # Panics
    /// When none comes.
    pub async fn line<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let mut news = self.output.news.subscribe();
        let mut seen = 0;
        let found = async {
            loop {
                let News { lines, open_pipes } = *news.borrow_and_update();
                let found = self.output.lock()[seen..lines].iter().find_map(|line| find(line));
                if let Some(found) = found {
                    return found;
                }
                assert!(open_pipes > 0, "{} ended before it said {what}", self.name);
                seen = lines;
                news.changed().await.expect("the sender is in `self`");
            }
        };
        within(&format!("{} to say {what}", self.name), found).await
    }

    /// Asks the program to end, and waits until it has.
    ///
    /// # Panics
    /// When it does not.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.ended().await
    }

    /// Asks the program to end.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn ask_to_end(&self) {
        kill_process(self.pid(), Signal::TERM).expect("the process is ours and not reaped");
    }

    /// Sends SIGHUP.
    ///
    /// # Panics
    /// When the program has ended already.
    pub fn hang_up(&self) {
        kill_process(self.pid(), Signal::HUP).expect("the process is ours and not reaped");
    }

    /// Ends the program without asking.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn kill(&mut self) {
        kill_process_group(self.pid(), Signal::KILL).expect("the process is ours and not reaped");
        self.ended().await;
    }

    /// Waits until the program has ended.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ended(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let status =
            until(&format!("the end of {name}"), async || self.child.try_wait().expect("it is our child")).await;
        self.status = Some(status);
        status
    }

    /// All that the program has written so far.
    pub fn log(&self) -> String {
        self.output.lock().join("\n")
    }

    /// The memory that it holds, in KiB (proc(5), VmRSS).
    ///
    /// # Panics
    /// When it has ended.
    pub fn resident_kilobytes(&self) -> u64 {
        let status = self.told("status");
        let held =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        held.expect("a process holds memory")
    }

    /// How many files, sockets and the like it has open.
    ///
    /// # Panics
    /// When it has ended.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        open.expect("the system tells of processes that run").count()
    }

    /// Processor time that its threads with such a name have used so far, in seconds (proc(5), schedstat).
    ///
    /// # Panics
    /// When it has ended, or has no such thread.
    pub fn used_by(&self, name: &str) -> f64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let threads = threads.expect("the system tells of processes that run").flatten().map(|thread| thread.path());
        let named =
            threads.filter(|path| std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.starts_with(name)));
        let used = |path: std::path::PathBuf| {
            let told = std::fs::read_to_string(path.join("schedstat")).ok()?;
            told.split(' ').next()?.parse::<f64>().ok()
        };
        let used: Vec<_> = named.filter_map(used).collect();
        assert!(!used.is_empty(), "no thread is called {name}");
        used.iter().sum::<f64>() / 1e9
    }

    /// What the system tells of it under this name (proc(5)).
    ///
    /// # Panics
    /// When it has ended.
    pub fn told(&self, name: &str) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id()));
        text.expect("the system tells of processes that run")
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Reaps what was killed; blocks, but not for long.
    fn reap(&mut self) {
        // Whatever it has started dies too; a group that is empty already is what we want.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let deadline = Instant::now() + REAP_WITHIN;
        while self.status.is_none() && Instant::now() < deadline {
            self.status = self.child.try_wait().ok().flatten();
            if self.status.is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.reap();
        if std::thread::panicking() && self.status.is_some() {
            // Its pipes end with it, and so do the readers.
            self.readers.drain(..).for_each(|reader| drop(reader.join()));
            let lines = self.output.lock();
            eprintln!("---- {} (the last of {} lines) ----", self.name, lines.len());
            lines.iter().skip(lines.len().saturating_sub(SHOWN)).for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The same command, but the system kills it when the thread that starts it ends, however it ends.
pub(crate) fn ending_with_us(command: &Command) -> Command {
    // We may have ended before the system was told: then it has another parent by now, and must not begin.
    let begin = format!("test $PPID = {} && exec \"$0\" \"$@\"", std::process::id());
    behind(&["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", &begin], command)
}

/// The same command, with this soft and this hard limit of file descriptors.
pub(crate) fn with_descriptors(command: &Command, [soft, hard]: [u32; 2]) -> Command {
    behind(&["prlimit", &format!("--nofile={soft}:{hard}"), "--"], command)
}

/// The same command, begun by another one that becomes it.
fn behind(words: &[&str], command: &Command) -> Command {
    let mut bound = Command::new(words[0]);
    bound.args(&words[1..]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound
}

impl Output {
    fn read(&self, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let output = self.clone();
        output.news.send_modify(|news| news.open_pipes += 1);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let mut lines = output.lock();
                lines.push(String::from_utf8_lossy(&line).into_owned());
                output.news.send_modify(|news| news.lines = lines.len());
            }
            output.news.send_modify(|news| news.open_pipes -= 1);
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the system may take to end a process that was killed.
const REAP_WITHIN: Duration = Duration::from_secs(5);
/// Lines of output that a failed test shows.
const SHOWN: usize = 150;

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts itself again, inside of which the program is started that must not outlive it.
    #[tokio::test]
    async fn what_a_killed_test_has_started_ends_with_it() {
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        if std::env::var_os(INSIDE).is_some() {
            let sleeper = Process::start("sleep", sleep);
            println!("{MARK}{}", sleeper.child.id());
            return std::future::pending().await;
        }
        let test = "process::tests::what_a_killed_test_has_started_ends_with_it";
        let mut inner = Command::new(std::env::current_exe().unwrap());
        inner.args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
        let mut inner = Process::start("the test", inner);
        let sleeper = inner.line("what it started", |line| Some(line.split_once(MARK)?.1.to_owned())).await;
        // Whoever inherits it may be slow to reap it.
        let state = || std::fs::read_to_string(format!("/proc/{sleeper}/stat")).ok();
        let runs = || state().is_some_and(|state| !state.contains(") Z "));
        assert!(runs());
        kill_process(inner.pid(), Signal::KILL).unwrap();
        inner.ended().await;
        until("the end of what it started", async || (!runs()).then_some(())).await;
    }

    const INSIDE: &str = "LOCKGATE_TESTS_KILLED";
    const MARK: &str = "sleeps as ";
}
