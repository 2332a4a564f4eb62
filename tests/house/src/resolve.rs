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
                    Some(found) => found,
                    // The sources do not show who defines it (a macro may): the module before it does.
                    None if at > 0 => return Place::Item(current),
                    None => return Place::Outside,
                },
            };
            if place == Place::Outside {
                return place;
            }
        }
        place
    }

    /// What a name means in a module, as far as `viewer` may see it; `None` if the sources do not show it.
    fn lookup<'a>(
        &'a self,
        module: usize,
        name: &str,
        viewer: usize,
        following: &mut Following<'a>,
    ) -> Option<Place> {
        let scope = &self.modules[module];
        if let Some(child) = scope.children.get(name) {
            return Some(Place::Module(*child));
        }
        if scope.items.contains(name) {
            return Some(Place::Item(module));
        }
        let visible = |import: &&Import| import.public || self.is_within(viewer, module);
        let mut found = None;
        for import in scope.imports.iter().filter(|import| import.name == name) {
            if visible(&import) && !matches!(found, Some(Place::Module(_) | Place::Item(_))) {
                found = self
                    .enter(module, import, following, |_, place, _| Some(place))
                    .or(found);
            }
        }
        for glob in scope.globs.iter().filter(visible) {
            if found.is_none() {
                found = self.enter(module, glob, following, |tree, place, following| match place {
                    Place::Module(inner) => tree.lookup(inner, name, module, following),
                    Place::Item(_) | Place::Outside => None,
                });
            }
        }
        let imported = scope.imports.iter().any(|import| import.name == name);
        let maybe = scope.macro_words.contains(name) && !imported;
        found.or_else(|| maybe.then_some(Place::Item(module)))
    }

    /// Follows an import, unless it is being followed already.
    fn enter<'a>(
        &'a self,
        module: usize,
        import: &'a Import,
        following: &mut Following<'a>,
        then: impl FnOnce(&'a Self, Place, &mut Following<'a>) -> Option<Place>,
    ) -> Option<Place> {
        if following.iter().any(|followed| std::ptr::eq(*followed, import)) {
            return None;
        }
        following.push(import);
        let place = self.follow(module, &import.path, following);
        let place = then(self, place, following);
        following.pop();
        place
    }
}
