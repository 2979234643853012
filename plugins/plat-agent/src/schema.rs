//! The schemas of what this program prints and answers, made from the types: for tests.

use schemars::{Schema, generate::SchemaSettings};

use crate::engine::Report;
use crate::gc::Freed;
use crate::observe::Document;

/// The schemas of `/status`, of the report of one look, and of what `--gc` prints.
#[must_use]
pub fn schemas(settings: &SchemaSettings) -> [Schema; 3] {
    let generator = || settings.clone().into_generator();
    [
        generator().into_root_schema_for::<Document>(),
        generator().into_root_schema_for::<Report>(),
        generator().into_root_schema_for::<Freed>(),
    ]
}
