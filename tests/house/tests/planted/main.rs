//! Each check fails on a small workspace with one violation in it, and passes on the same workspace without it.

#![allow(clippy::unwrap_used)]

mod tree;

mod decisions;
mod dependencies;
mod layers;
mod modules;
