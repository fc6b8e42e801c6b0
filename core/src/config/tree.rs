//! A configuration file as a tree whose every value knows where it stands.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Table(BTreeMap<String, Node>),
    Array(Vec<Node>),
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// Dates and numbers out of range: no key takes one.
    Other(String),
}

impl Node {
    /// An empty file.
    pub(crate) fn empty(place: Place) -> Self {
        Self { value: Value::Table(BTreeMap::new()), place }
    }

    /// Reads a file's text; everything that is not TOML is a problem.
    pub(crate) fn parse(file: &str, text: &str, problems: &mut Vec<Problem>) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let place = error.span().map_or_else(|| Place::whole(file), |span| Place::in_file(file, text, span.start));
            problems.push(Problem::at(place, error.message().to_owned(), "write it as TOML"));
        }
        let source = Source { file, text };
        let place = source.place(&table);
        Self { value: source.table(table.into_inner()), place }
    }

    /// Reads one value in TOML syntax, as it stands in an environment variable; plain words count as text.
    pub(crate) fn from_variable(name: &str, text: &str) -> Self {
        let line = format!("value = {text}");
        let (table, errors) = DeTable::parse_recoverable(&line);
        let place = Place::variable(name);
        let value = table.into_inner().into_iter().next().filter(|_| errors.is_empty());
        match value {
            Some((_, value)) => {
                let mut node = Source { file: name, text: &line }.node(value);
                node.stands_at(&place);
                node
            }
            None => Self { value: Value::Text(text.to_owned()), place },
        }
    }

    /// Puts a value at `section.key`, over what the file says.
    pub(crate) fn set(&mut self, section: &str, key: &str, node: Self) {
        let Value::Table(sections) = &mut self.value else { return };
        let place = node.place.clone();
        let section = sections.entry(section.to_owned()).or_insert_with(|| Self::empty(place));
        if let Value::Table(keys) = &mut section.value {
            keys.insert(key.to_owned(), node);
        }
    }

    fn stands_at(&mut self, place: &Place) {
        self.place = place.clone();
        match &mut self.value {
            Value::Table(keys) => keys.values_mut().for_each(|node| node.stands_at(place)),
            Value::Array(nodes) => nodes.iter_mut().for_each(|node| node.stands_at(place)),
            _ => {}
        }
    }
}

impl Value {
    /// The value as it would be written, short.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Table(_) => "{ … }".into(),
            Self::Array(_) => "[ … ]".into(),
            Self::Text(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Other(text) => text.clone(),
        }
    }

    /// The value as JSON, for settings that are handed on.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Table(keys) => keys.iter().map(|(key, node)| (key.clone(), node.value.to_json())).collect(),
            Self::Array(nodes) => nodes.iter().map(|node| node.value.to_json()).collect(),
            Self::Text(text) | Self::Other(text) => text.clone().into(),
            Self::Integer(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Bool(value) => (*value).into(),
        }
    }
}

struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn place<T>(&self, spanned: &Spanned<T>) -> Place {
        Place::in_file(self.file, self.text, spanned.span().start)
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Node {
        let place = self.place(&value);
        let value = match value.into_inner() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(array) => Value::Array(array.into_iter().map(|value| self.node(value)).collect()),
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Boolean(value) => Value::Bool(value),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Other(number.as_str().to_owned()),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => Value::Other(number.as_str().to_owned()),
            },
            DeValue::Datetime(date) => Value::Other(date.to_string()),
        };
        Node { value, place }
    }

    fn table(&self, table: DeTable<'_>) -> Value {
        // A key's own place is better than its value's for "unknown key", and for sections there is no other.
        let keys = table.into_iter().map(|(key, value)| {
            let mut node = self.node(value);
            if matches!(node.value, Value::Table(_)) {
                node.place = self.place(&key);
            }
            (key.into_inner().into_owned(), node)
        });
        Value::Table(keys.collect())
    }
}
