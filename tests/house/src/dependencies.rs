//! Every declared dependency is used.
//!
//! A dependency is used if a path in the sources begins with its name, as code or in a `use` item. What a package ships
//! (library and programs) must use its normal dependencies; those that only its tests use belong under
//! `[dev-dependencies]`.

use std::collections::BTreeSet;

use crate::resolve::Place;
use crate::source::{Crate, Mention};
use crate::workspace::{Dependency, Kind, Package, Workspace};
use crate::{Rule, Violation};

/// Dependencies that no source mentions because they are declared for their features only: package, dependency, reason.
/// None today.
pub const FEATURES_ONLY: [(&str, &str, &str); 0] = [];

/// Which crates the sources of a package mention.
#[derive(Default)]
struct Mentions {
    shipped: BTreeSet<String>,
    tests: BTreeSet<String>,
    build_script: BTreeSet<String>,
}

/// Checks every package, and `[workspace.dependencies]`.
pub fn check(workspace: &Workspace) -> anyhow::Result<Vec<Violation>> {
    check_except(workspace, &FEATURES_ONLY)
}

/// Checks with a list of exceptions. One that is not needed is a violation too.
pub fn check_except(
    workspace: &Workspace,
    exceptions: &[(&str, &str, &str)],
) -> anyhow::Result<Vec<Violation>> {
    let mut messages = Vec::new();
    let mut needed = BTreeSet::new();
    for package in &workspace.packages {
        let mentions = mentions(workspace, package)?;
        for dependency in &package.dependencies {
            let Some(problem) = problem(dependency, &mentions) else {
                continue;
            };
            let name = dependency.name.as_str();
            let exception = exceptions
                .iter()
                .position(|(of, on, _)| *of == package.name && *on == name);
            match exception {
                Some(exception) => {
                    needed.insert(exception);
                }
                None => messages.push(format!("{} declares {name}: {problem}", package.label())),
            }
        }
    }
    for (at, (package, dependency, _)) in exceptions.iter().enumerate() {
        if !needed.contains(&at) {
            messages.push(format!(
                "the exception for {dependency} in {package} is not needed"
            ));
        }
    }
    messages.extend(unshared(workspace));
    let violation = |message| Violation {
        rule: Rule::UnusedDependency,
        message,
    };
    Ok(messages.into_iter().map(violation).collect())
}

fn problem(dependency: &Dependency, mentions: &Mentions) -> Option<&'static str> {
    let name = dependency.ident();
    let shipped = mentions.shipped.contains(&name);
    let tests = mentions.tests.contains(&name);
    match dependency.kind {
        Kind::Normal if shipped => None,
        Kind::Normal if tests => Some("only its tests use it, so it belongs under [dev-dependencies]"),
        Kind::Normal => Some("no source uses it"),
        Kind::Dev if shipped || tests => None,
        Kind::Dev => Some("no test uses it"),
        Kind::Build if mentions.build_script.contains(&name) => None,
        Kind::Build => Some("the build script does not use it"),
    }
}

fn mentions(workspace: &Workspace, package: &Package) -> anyhow::Result<Mentions> {
    let mut mentions = Mentions::default();
    for (target, tree) in workspace.crates(package)? {
        let all = tree.modules.iter().enumerate();
        let all = all.flat_map(|(module, scope)| scope.mentions.iter().map(move |it| (module, it)));
        for (module, mention) in all {
            let Some(name) = crate_name(&tree, module, mention) else {
                continue;
            };
            let group = if target.is_build_script() {
                &mut mentions.build_script
            } else if target.is_shipped() && !mention.test {
                &mut mentions.shipped
            } else {
                &mut mentions.tests
            };
            group.insert(name.clone());
        }
    }
    Ok(mentions)
}

/// The first name of a path that leads out of the crate. A word alone counts in a `use` item only.
fn crate_name<'a>(tree: &Crate, module: usize, mention: &'a Mention) -> Option<&'a String> {
    if mention.path.len() == 1 && !mention.is_import() {
        return None;
    }
    let outside = tree.resolve(module, &mention.path) == Place::Outside;
    let first = mention.path.iter().find(|segment| !segment.is_empty())?;
    outside.then_some(first)
}

/// What `[workspace.dependencies]` has and no package declares.
fn unshared(workspace: &Workspace) -> Vec<String> {
    let declared: BTreeSet<_> = workspace
        .packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .map(|dependency| dependency.rename.as_ref().unwrap_or(&dependency.name))
        .collect();
    let unused = workspace
        .shared_dependencies
        .iter()
        .filter(|name| !declared.contains(name));
    unused
        .map(|name| format!("[workspace.dependencies] declares {name}: no package uses it"))
        .collect()
}
