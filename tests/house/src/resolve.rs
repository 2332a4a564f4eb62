//! Where a path leads: to which module of the same crate, or out of it.

use crate::source::{Crate, Import};

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// To a module.
    Module(usize),
    /// To an item that this module defines.
    Item(usize),
    /// To another crate, or to nothing that the sources of this one define.
    Outside,
}

/// The imports that are being followed: one that leads back to itself leads nowhere.
type Following<'a> = Vec<&'a Import>;

impl Crate {
    /// Where a path leads that is written in `module`. Re-exports are followed to the module that defines the item.
    pub fn resolve(&self, module: usize, path: &[String]) -> Place {
        self.follow(module, path, &mut Vec::new())
    }

    fn follow<'a>(&'a self, module: usize, path: &[String], following: &mut Following<'a>) -> Place {
        let mut place = Place::Module(module);
        for (at, segment) in path.iter().enumerate() {
            let Place::Module(current) = place else {
                return place; // A variant or an associated item: the item before it says where.
            };
            place = match segment.as_str() {
                "crate" => Place::Module(0),
                "self" => place,
                "super" => Place::Module(self.modules[current].parent.unwrap_or(0)),
                name => match self.lookup(current, name, module, following) {
                    // The sources do not show who defines it (a macro may): the module before it does.
                    Place::Outside if at > 0 => return Place::Item(current),
                    found => found,
                },
            };
            if place == Place::Outside {
                return place;
            }
        }
        place
    }

    /// What a name means in a module, as far as `viewer` may see it.
    fn lookup<'a>(
        &'a self,
        module: usize,
        name: &str,
        viewer: usize,
        following: &mut Following<'a>,
    ) -> Place {
        let scope = &self.modules[module];
        if let Some(child) = scope.children.get(name) {
            return Place::Module(*child);
        }
        if scope.items.contains(name) {
            return Place::Item(module);
        }
        let named = || scope.imports.iter().filter(|import| import.name == name);
        for import in named().filter(|import| import.public || self.is_within(viewer, module)) {
            let place = self.enter(module, import, following, |_, place, _| place);
            if place != Place::Outside {
                return place;
            }
        }
        for glob in &scope.globs {
            if !glob.public && !self.is_within(viewer, module) {
                continue;
            }
            let place = self.enter(module, glob, following, |tree, place, following| match place {
                Place::Module(inner) => tree.lookup(inner, name, module, following),
                Place::Item(_) | Place::Outside => Place::Outside,
            });
            if place != Place::Outside {
                return place;
            }
        }
        if scope.macro_words.contains(name) && named().next().is_none() {
            return Place::Item(module);
        }
        Place::Outside
    }

    /// Follows an import, unless it is being followed already.
    fn enter<'a>(
        &'a self,
        module: usize,
        import: &'a Import,
        following: &mut Following<'a>,
        then: impl FnOnce(&'a Self, Place, &mut Following<'a>) -> Place,
    ) -> Place {
        if following.iter().any(|followed| std::ptr::eq(*followed, import)) {
            return Place::Outside;
        }
        following.push(import);
        let place = self.follow(module, &import.path, following);
        let place = then(self, place, following);
        following.pop();
        place
    }
}
