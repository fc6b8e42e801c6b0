//! What others can rely on in a WIT package: its interfaces and worlds, item by item, as text that can be compared.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use semver::Version;
use wit_parser::{
    Function, Interface, PackageId, Resolve, Type, TypeDef, TypeDefKind, TypeId, TypeOwner, World, WorldItem, WorldKey,
};

/// A package as its users see it.
#[derive(Debug)]
pub struct Surface {
    pub version: Version,
    /// By what they are: `interface auth`, `world policy`.
    pub scopes: BTreeMap<String, Items>,
}

/// The items of an interface or of a world by what they are: `record attr`, `function decide`, `export auth`.
pub type Items = BTreeMap<String, Item>;

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    /// All that there is to it but its parts.
    pub text: String,
    /// What its parts are called.
    pub parts_are: &'static str,
    /// Its parts and their types, in their order; empty: the part has no type.
    pub parts: Vec<(String, String)>,
}

impl Item {
    fn plain(text: String) -> Self {
        Self { text, parts_are: "", parts: Vec::new() }
    }
}

impl Surface {
    /// Reads the package in a folder; folders in it are other packages.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(folder)?;
        Self::of(&resolve, package)
    }

    fn of(resolve: &Resolve, package: PackageId) -> Result<Self> {
        let package = &resolve.packages[package];
        let version = package.name.version.clone();
        let mut scopes = BTreeMap::new();
        for (name, interface) in &package.interfaces {
            scopes.insert(format!("interface {name}"), interface_items(resolve, &resolve.interfaces[*interface]));
        }
        for (name, world) in &package.worlds {
            scopes.insert(format!("world {name}"), world_items(resolve, &resolve.worlds[*world]));
        }
        Ok(Self { version: version.with_context(|| format!("package {} has no version", package.name))?, scopes })
    }

    /// How many interfaces and worlds there are.
    pub fn scopes(&self) -> usize {
        self.scopes.len()
    }
}

fn interface_items(resolve: &Resolve, interface: &Interface) -> Items {
    let types = interface.types.iter().map(|(name, id)| {
        let definition = &resolve.types[*id];
        (format!("{} {name}", definition.kind.as_str()), type_item(resolve, definition))
    });
    let functions = interface.functions.values();
    types.chain(functions.map(|one| (format!("function {}", one.name), function_item(resolve, one)))).collect()
}

fn type_item(resolve: &Resolve, definition: &TypeDef) -> Item {
    let (parts_are, parts) = match &definition.kind {
        TypeDefKind::Record(record) => {
            ("field", record.fields.iter().map(|one| (one.name.clone(), type_text(resolve, &one.ty))).collect())
        }
        TypeDefKind::Variant(variant) => {
            let payload = |ty: &Option<Type>| ty.as_ref().map_or_else(String::new, |ty| type_text(resolve, ty));
            ("case", variant.cases.iter().map(|one| (one.name.clone(), payload(&one.ty))).collect())
        }
        TypeDefKind::Enum(one) => ("case", one.cases.iter().map(|case| (case.name.clone(), String::new())).collect()),
        TypeDefKind::Flags(one) => ("flag", one.flags.iter().map(|flag| (flag.name.clone(), String::new())).collect()),
        _ => return Item::plain(kind_text(resolve, definition)),
    };
    Item { text: String::new(), parts_are, parts }
}

fn function_item(resolve: &Resolve, function: &Function) -> Item {
    let parameters: Vec<_> =
        function.params.iter().map(|one| format!("{}: {}", one.name, type_text(resolve, &one.ty))).collect();
    let result = function.result.as_ref().map_or_else(String::new, |ty| format!(" -> {}", type_text(resolve, ty)));
    Item::plain(format!("{:?} func({}){result}", function.kind, parameters.join(", ")).replacen("Freestanding ", "", 1))
}

fn world_items(resolve: &Resolve, world: &World) -> Items {
    let item = |what: &'static str| {
        move |(key, item): (&WorldKey, &WorldItem)| {
            let text = match item {
                WorldItem::Interface { .. } => String::new(),
                WorldItem::Function(function) => {
                    return (format!("{what} {}", function.name), function_item(resolve, function));
                }
                WorldItem::Type { id, .. } => kind_text(resolve, &resolve.types[*id]),
            };
            (format!("{what} {}", resolve.name_world_key(key)), Item::plain(text))
        }
    };
    world.imports.iter().map(item("import")).chain(world.exports.iter().map(item("export"))).collect()
}

/// A type as it is written in WIT. Named ones are told by their names: what they are is compared where they are defined.
fn type_text(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
    let definition = &resolve.types[*id];
    definition.name.clone().unwrap_or_else(|| kind_text(resolve, definition))
}

/// A name that is used elsewhere, with where it comes from.
fn used(resolve: &Resolve, id: TypeId) -> String {
    let name = type_text(resolve, &Type::Id(id));
    let TypeOwner::Interface(owner) = resolve.types[id].owner else { return name };
    resolve.interfaces[owner].name.as_ref().map_or(name.clone(), |owner| format!("{owner}.{name}"))
}

fn kind_text(resolve: &Resolve, definition: &TypeDef) -> String {
    let text = |ty: &Type| type_text(resolve, ty);
    let perhaps = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), text);
    match &definition.kind {
        TypeDefKind::Option(ty) => format!("option<{}>", text(ty)),
        TypeDefKind::List(ty) => format!("list<{}>", text(ty)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", perhaps(&result.ok), perhaps(&result.err)),
        TypeDefKind::Tuple(tuple) => format!("tuple<{}>", tuple.types.iter().map(text).collect::<Vec<_>>().join(", ")),
        TypeDefKind::Type(Type::Id(id)) => used(resolve, *id),
        TypeDefKind::Type(ty) => text(ty),
        // The contract has no others. Their ids are this copy's own, so that a change of one is told at worst twice.
        other => format!("{} {other:?}", other.as_str()),
    }
}
