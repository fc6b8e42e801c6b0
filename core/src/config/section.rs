//! Reading one section: each key by name and type, whatever is left over is unknown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lockgate_model::{Bitrate, distance, parse_bytes, parse_duration};

use super::problem::{Place, Problem};
use super::tree::{Node, Value};

/// One section of the file, being read.
pub(crate) struct Section<'a> {
    path: String,
    place: Place,
    keys: BTreeMap<String, Node>,
    asked: Vec<&'static str>,
    problems: &'a RefCell<Vec<Problem>>,
}

/// A type that a key can have.
pub(crate) trait FromValue: Sized {
    /// What to write instead of something else.
    const REMEDY: &'static str;

    /// The value, or what is wrong with it.
    fn from_value(value: &Value) -> Result<Self, String>;
}

impl<'a> Section<'a> {
    /// The section's keys; a value that is no table is a problem.
    pub(crate) fn new(path: &str, node: Node, problems: &'a RefCell<Vec<Problem>>) -> Self {
        let Node { value, place } = node;
        let keys = match value {
            Value::Table(keys) => keys,
            other => {
                let what = format!("{path} = {}", other.shown());
                problems.borrow_mut().push(Problem::of(place.clone(), what, "is a section", format!("write [{path}]")));
                BTreeMap::new()
            }
        };
        Self { path: path.to_owned(), place, keys, asked: Vec::new(), problems }
    }

    /// The key's value, or the default where the key is absent or wrong.
    pub(crate) fn get<T: FromValue>(&mut self, key: &'static str, default: T) -> T {
        self.find(key).unwrap_or(default)
    }

    /// Like [`Self::get`], within bounds.
    pub(crate) fn within<T>(&mut self, key: &'static str, default: T, low: T, high: T) -> T
    where
        T: FromValue + PartialOrd + Shown,
    {
        self.find_within(key, low, high).unwrap_or(default)
    }

    /// Like [`Self::find`], within bounds.
    pub(crate) fn find_within<T>(&mut self, key: &'static str, low: T, high: T) -> Option<T>
    where
        T: FromValue + PartialOrd + Shown,
    {
        let (value, node) = self.read::<T>(key)?;
        if value >= low && value <= high {
            return Some(value);
        }
        let remedy = format!("choose {} to {}", low.shown(), high.shown());
        self.complain(key, &node, "is out of range", &remedy);
        None
    }

    /// The key's value if it is there and right.
    pub(crate) fn find<T: FromValue>(&mut self, key: &'static str) -> Option<T> {
        self.read(key).map(|(value, _)| value)
    }

    /// The key's value with its node, to complain about later.
    pub(crate) fn read<T: FromValue>(&mut self, key: &'static str) -> Option<(T, Node)> {
        let node = self.take(key)?;
        match T::from_value(&node.value) {
            Ok(value) => Some((value, node)),
            Err(problem) => {
                self.complain(key, &node, &problem, T::REMEDY);
                None
            }
        }
    }

    /// The key's value, a list out of a closed one whose first entries are the default.
    pub(crate) fn some_of(&mut self, key: &'static str, allowed: &[&str], defaults: usize) -> Vec<String> {
        let default = || allowed.iter().take(defaults).map(|&name| name.to_owned()).collect();
        let Some((values, node)) = self.read::<Vec<String>>(key) else { return default() };
        if !values.is_empty() && values.iter().all(|value| allowed.contains(&value.as_str())) {
            return values;
        }
        self.complain(key, &node, "does not fit here", &format!("choose of {}", allowed.join(", ")));
        default()
    }

    /// The key's value of any type.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.asked.push(key);
        self.keys.remove(key)
    }

    /// Whether the key's value is a table, where it may be something else, too.
    pub(crate) fn holds_table(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(|node| matches!(node.value, Value::Table(_)))
    }

    /// A section below this one; empty when absent.
    pub(crate) fn below(&mut self, key: &'static str) -> Self {
        let node = self.take(key).unwrap_or_else(|| Node::empty(self.place.clone()));
        Section::new(&self.name_of(key), node, self.problems)
    }

    /// A section below this one, if it is there.
    pub(crate) fn find_below(&mut self, key: &'static str) -> Option<Self> {
        let node = self.take(key)?;
        Some(Section::new(&self.name_of(key), node, self.problems))
    }

    /// A list of sections (`[[key]]`).
    pub(crate) fn list(&mut self, key: &'static str) -> Vec<Self> {
        let Some(node) = self.take(key) else { return Vec::new() };
        let name = self.name_of(key);
        match node.value {
            Value::Array(nodes) => nodes.into_iter().map(|node| Section::new(&name, node, self.problems)).collect(),
            _ => {
                self.complain(key, &node, "is a list of sections", &format!("write [[{name}]]"));
                Vec::new()
            }
        }
    }

    /// Reports a key of this section.
    pub(crate) fn complain(&self, key: &str, node: &Node, problem: &str, remedy: &str) {
        let what = format!("{} = {}", self.name_of(key), node.value.shown());
        self.problems.borrow_mut().push(Problem::of(node.place.clone(), what, problem, remedy));
    }

    /// Reports a key that is absent.
    pub(crate) fn miss(&self, key: &str, remedy: &str) {
        self.problems.borrow_mut().push(Problem::of(self.place.clone(), self.name_of(key), "is missing", remedy));
    }

    /// Reports keys that cannot stand together.
    pub(crate) fn contradict(&self, problem: &str, remedy: &str) {
        self.problems.borrow_mut().push(Problem::of(self.place.clone(), self.path.clone(), problem, remedy));
    }

    /// Whatever was not asked for is unknown.
    pub(crate) fn finish(self) {
        for (key, node) in &self.keys {
            // Of a word of which more than half differs, nobody meant the other.
            let slips = (key.chars().count() / 2).min(3);
            let nearest = self.asked.iter().min_by_key(|known| distance(known, key));
            let near = nearest.filter(|known| distance(known, key) <= slips);
            let remedy = match near {
                Some(known) => format!("did you mean \"{known}\"?"),
                None if self.asked.is_empty() => "take it out".to_owned(),
                None => format!("the keys here are {}", self.asked.join(", ")),
            };
            let problem = Problem::of(node.place.clone(), self.name_of(key), "unknown key", remedy);
            self.problems.borrow_mut().push(problem);
        }
    }

    fn name_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// How a bound is written in a remedy.
pub(crate) trait Shown {
    fn shown(&self) -> String;
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl FromValue for $number {
            const REMEDY: &'static str = "write a whole number";
            fn from_value(value: &Value) -> Result<Self, String> {
                match value {
                    Value::Integer(number) => Self::try_from(*number).map_err(|_| "is out of range".to_owned()),
                    _ => Err("is not a whole number".to_owned()),
                }
            }
        }
        impl Shown for $number {
            fn shown(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
whole_numbers!(u16, u32, u64, usize);

impl FromValue for bool {
    const REMEDY: &'static str = "write true or false";
    fn from_value(value: &Value) -> Result<Self, String> {
        if let Value::Bool(value) = value { Ok(*value) } else { Err("is neither true nor false".into()) }
    }
}

impl FromValue for String {
    const REMEDY: &'static str = "write it in quotes";
    fn from_value(value: &Value) -> Result<Self, String> {
        if let Value::Text(text) = value { Ok(text.clone()) } else { Err("is not a text".into()) }
    }
}

impl FromValue for Duration {
    const REMEDY: &'static str = "write a whole number and a unit, as in \"10ms\", \"30s\", \"5m\" or \"2h\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) => parse_duration(text).map_err(|_| "is not a duration".to_owned()),
            _ => Err("is not a duration".into()),
        }
    }
}

impl Shown for Duration {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl FromValue for Bitrate {
    const REMEDY: &'static str = "write a number and a unit, as in \"500 kbps\" or \"2.5 Mbps\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) => text.parse().map_err(|_| "is not a bitrate".to_owned()),
            _ => Err("is not a bitrate".into()),
        }
    }
}

impl Shown for Bitrate {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl FromValue for f64 {
    const REMEDY: &'static str = "write a number, as in 0.1";
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Float(number) => Ok(*number),
            Value::Integer(number) => Ok(*number as Self),
            _ => Err("is not a number".into()),
        }
    }
}

impl Shown for f64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

/// A number of bytes, written as "32 MiB".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub(crate) usize);

impl FromValue for Bytes {
    const REMEDY: &'static str = "write a whole number and a unit, as in \"64 KiB\" or \"32 MiB\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Text(text) = value else { return Err("is not a size".into()) };
        let bytes = parse_bytes(text).ok().and_then(|bytes| usize::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| "is not a size".to_owned())
    }
}

impl Shown for Bytes {
    fn shown(&self) -> String {
        if self.0.is_multiple_of(1 << 20) { format!("{} MiB", self.0 >> 20) } else { format!("{} KiB", self.0 >> 10) }
    }
}

impl FromValue for IpAddr {
    const REMEDY: &'static str = "write an IPv4 or IPv6 address, as in \"127.0.0.1\" or \"::1\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) => text.parse().map_err(|_| "is not an address".to_owned()),
            _ => Err("is not an address".into()),
        }
    }
}

/// An address with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The address that clients reach.
    pub ip: IpAddr,
    /// The port that they reach, where it is another than the one bound to (NAT).
    pub port: Option<u16>,
}

impl FromValue for Announce {
    const REMEDY: &'static str =
        "write an address with or without a port, as in \"203.0.113.7\" or \"[2001:db8::7]:4000\"";
    fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Text(text) = value else { return Err("is not an address".into()) };
        if let Ok(ip) = text.parse() {
            return Ok(Self { ip, port: None });
        }
        match text.parse::<SocketAddr>() {
            Ok(address) => Ok(Self { ip: address.ip(), port: Some(address.port()) }),
            Err(_) => Err("is not an address".into()),
        }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    const REMEDY: &'static str = T::REMEDY;
    fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Array(nodes) = value else { return Err("is not a list".into()) };
        nodes
            .iter()
            .map(|node| T::from_value(&node.value).map_err(|problem| format!("{}: {problem}", node.value.shown())))
            .collect()
    }
}
