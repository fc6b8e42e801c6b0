//! The command line, and nothing else: every option is explained here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::language::Language;

/// Lockgate's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Build plugins, core and recorder, start both processes and print the URL; Ctrl-C stops them
    ///
    /// A recorder that dies is restarted within a second. The exit code is the core's own if it ended by itself, 1 if a
    /// build failed or a process had to be killed, and 0 after a clean stop.
    Run(RunOptions),
    /// Run everything that checks the project, and install what that needs where it can
    ///
    /// Goes on after a failed step, and ends with a summary; the exit code is 0 only if every step passed. As root on
    /// Debian, missing packages are installed; elsewhere the one command to run is printed.
    Test(TestOptions),
    /// Measure what forwarding costs on this machine, beside the floor of what it must cost
    ///
    /// Prints a table and writes bench/forward.json in the build folder. Nothing is judged by time: a missed budget is
    /// printed, and the exit code is 0. See docs/performance.md.
    Bench(BenchOptions),
    /// Compile the guests in plugins/ to components in plugins/dist/
    ///
    /// Those in Rust and C, unless others are named. For Rust it uses the active toolchain's wasm32-unknown-unknown target when it is installed; otherwise Debian's rustc-web
    /// packages, unpacked (not installed) once into the user's cache folder, with the standard library built from
    /// source.
    Plugins(PluginsOptions),
    /// Tell whether the contract in wit/ still is what was released under its version
    ///
    /// Compares it with the last copy in wit/released/. Under a version that was released only new interfaces and new worlds may
    /// come; anything else would break plugins that exist. See docs/decisions/0022-contract-over-time.md.
    Wit,
    /// Tell whether the schema of `/ws` in docs/schema/ is what the types say, and lets clients of earlier releases go on
    ///
    /// Compares it with each copy in docs/schema/released/. What clients may say may only grow, what the server says keep its promises; anything
    /// else would break clients that exist. See docs/signalling.md, "The schema".
    Schema(SchemaOptions),
    /// Make a folder in plugins/ with a plugin that builds and passes its tests, to be changed into your own
    ///
    /// It is a copy of the worked example of that language (plugins/kit-…), with the hooks that you name and the fixtures for them.
    NewPlugin(NewPluginOptions),
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// The configuration file that both processes read
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    pub(crate) config: PathBuf,
    /// The cargo profile to build with; `ci` reuses what `cargo xtask test` has built
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    pub(crate) profile: Profile,
    /// Start the core alone
    #[arg(long)]
    pub(crate) no_recorder: bool,
    /// Further arguments for `lockgate`, after `--`
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) core_args: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    Release,
    Ci,
}

impl Profile {
    /// The name that cargo knows the profile and its output folder by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Ci => "ci",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct TestOptions {
    /// Leave out the system tests, which need a browser
    #[arg(long, conflicts_with = "only")]
    pub(crate) fast: bool,
    /// Run only this step (may be repeated)
    #[arg(long, value_enum, value_name = "STEP")]
    pub(crate) only: Vec<Step>,
}

/// The steps of `cargo xtask test`, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Formatting of the workspace and of the guests
    Fmt,
    /// Who may depend on whom, and the licences of everything we ship
    Arrows,
    /// The contract with plugins is what was released under its version
    Wit,
    /// The schema of `/ws` is that of the types, and lets clients of earlier releases go on
    Schema,
    /// The client SDK's own tests and its types, with Node.js where it is installed
    Client,
    /// Components from the guests, and what they import
    Plugins,
    /// Lints, as errors
    Clippy,
    /// The documentation builds without a warning
    Doc,
    /// Unit, property and documentation tests of the workspace and the guests
    Unit,
    /// The real binaries with a real browser
    System,
    /// System tests that need minutes of a quiet machine, accessibility, and other stacks from npm, PyPI and Debian: only if it is asked for
    Thorough,
    /// Plugins in JavaScript and Python, with tools from npm and PyPI: only if it is asked for by `--only`
    Languages,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// The cargo profile to build with; `ci` reuses what `cargo xtask test` has built, and is a little slower
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    pub(crate) profile: Profile,
    #[command(subcommand)]
    pub(crate) bench: Bench,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// What a forwarded packet costs, in time, memory and latency: takes about six minutes
    Forward(ForwardOptions),
    /// What a decision of a plugin costs, and what policy adds to a join: takes about a minute
    Policy {
        /// A few seconds instead of a minute: shows that everything works, and measures nothing well
        #[arg(long)]
        quick: bool,
    },
    /// What the recorder needs for each participant, and what recording costs the node: takes about four minutes, and 2 GB of the build folder's disk meanwhile
    Record {
        /// A few seconds instead of minutes: shows that everything works, and measures nothing well
        #[arg(long)]
        quick: bool,
    },
    /// What messages on data channels cost, how long they take, and what channels hold
    Data {
        /// A few seconds instead of a minute: shows that everything works, and measures nothing well
        #[arg(long)]
        quick: bool,
    },
    /// What a connection holds for DTLS, with data channels and without
    Dtls,
    /// Let viewers join and leave, and watch the worker's memory
    Soak {
        /// How many come and go
        #[arg(long, default_value_t = 10_000)]
        joins: usize,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ForwardOptions {
    /// A few seconds instead of minutes: shows that everything works, and measures nothing well
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only what attacks cost those who do nothing wrong
    #[arg(long)]
    pub(crate) hostile: bool,
    /// Only this load: audio-opus, video-burst8 or video-real (may be repeated)
    #[arg(long)]
    pub(crate) scenario: Vec<String>,
    /// Only so many viewers (may be repeated)
    #[arg(long)]
    pub(crate) viewers: Vec<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct PluginsOptions {
    /// Build only these, by their folders in plugins/, whatever they are written in
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Print each component's imports
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Build those in JavaScript and Python, too, with tools from npm and PyPI
    #[arg(long, conflicts_with = "names")]
    pub(crate) all_languages: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaOptions {
    /// Write docs/schema/ws.json anew before
    #[arg(long)]
    pub(crate) write: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NewPluginOptions {
    /// Its name, and its folder's: lower-case letters, digits and hyphens
    pub(crate) name: String,
    /// What it is written in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub(crate) lang: Language,
    /// What it is to be asked, as in `--hooks admission,command`
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Hook::Admission, Hook::Subscription, Hook::Command])]
    pub(crate) hooks: Vec<Hook>,
}

/// The hooks of the contract (wit/hooks.wit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hook {
    Auth,
    Admission,
    Publishing,
    Subscription,
    Recording,
    Command,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_after_two_dashes_are_the_cores() {
        let cli = Cli::try_parse_from(["xtask", "run", "--profile", "ci", "--", "--port", "9100"]).unwrap();
        let Task::Run(options) = cli.task else { panic!("not run") };
        assert_eq!(options.profile, Profile::Ci);
        assert_eq!(options.core_args, ["--port", "9100"]);
        assert_eq!(options.config, PathBuf::from("config.toml"));
    }

    #[test]
    fn steps_can_be_picked_one_by_one() {
        let cli = Cli::try_parse_from(["xtask", "test", "--only", "fmt", "--only", "unit"]).unwrap();
        let Task::Test(options) = cli.task else { panic!("not test") };
        assert_eq!(options.only, [Step::Fmt, Step::Unit]);
    }

    #[test]
    fn fast_and_only_exclude_each_other() {
        assert!(Cli::try_parse_from(["xtask", "test", "--fast", "--only", "fmt"]).is_err());
    }

    #[test]
    fn an_unknown_profile_is_refused() {
        assert!(Cli::try_parse_from(["xtask", "run", "--profile", "debug"]).is_err());
    }
}
