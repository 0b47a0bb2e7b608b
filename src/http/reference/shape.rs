//! The shapes of what is sent and answered: as JSON Schema for tools, as a line of text for people.
//!
//! Must not know routes. Next: `table.rs`, which says what each route takes and answers.

use std::fmt;

use serde_json::{Map, Value, json};

/// What a JSON value looks like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    Whole,
    Number,
    Flag,
    Anything,
    /// One of these words.
    Words(&'static [&'static str]),
    /// It, or null.
    OrNull(&'static Shape),
    List(&'static Shape),
    /// An object of any names.
    Map(&'static Shape),
    /// These members and no others.
    Object(&'static [Member]),
    Either(&'static [Shape]),
    /// One of [`super::table::NAMED`].
    Named(&'static str),
}

/// A member of an object, or a parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
    /// What it is, where its name does not say.
    pub(super) about: &'static str,
}

/// A member that is always there.
pub(super) const fn has(name: &'static str, shape: Shape, about: &'static str) -> Member {
    Member { name, shape, required: true, about }
}

/// A member that may be left out.
pub(super) const fn may(name: &'static str, shape: Shape, about: &'static str) -> Member {
    Member { name, shape, required: false, about }
}

impl Shape {
    /// As JSON Schema.
    pub(super) fn schema(&self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Whole => json!({ "type": "integer" }),
            Self::Number => json!({ "type": "number" }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Anything => json!({}),
            Self::Words(words) => json!({ "type": "string", "enum": words }),
            Self::OrNull(shape) => json!({ "anyOf": [shape.schema(), { "type": "null" }] }),
            Self::List(shape) => json!({ "type": "array", "items": shape.schema() }),
            Self::Map(shape) => json!({ "type": "object", "additionalProperties": shape.schema() }),
            Self::Either(shapes) => json!({ "anyOf": shapes.iter().map(Self::schema).collect::<Vec<_>>() }),
            Self::Named(name) => json!({ "$ref": format!("#/components/schemas/{name}") }),
            Self::Object(members) => {
                let properties: Map<String, Value> = members.iter().map(|member| (member.name.to_owned(), member.schema())).collect();
                let required: Vec<&str> = members.iter().filter(|member| member.required).map(|member| member.name).collect();
                json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
            }
        }
    }
}

impl Member {
    /// Its schema with what it is.
    pub(super) fn schema(&self) -> Value {
        let mut schema = self.shape.schema();
        if let Some(schema) = schema.as_object_mut().filter(|_| !self.about.is_empty()) {
            schema.insert("description".to_owned(), json!(self.about));
        }
        schema
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Whole => f.write_str("whole number"),
            Self::Number => f.write_str("number"),
            Self::Flag => f.write_str("true or false"),
            Self::Anything => f.write_str("anything"),
            Self::Words(words) => f.write_str(&words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")),
            Self::OrNull(shape) => write!(f, "{shape} or null"),
            Self::List(shape) => write!(f, "[{shape}, …]"),
            Self::Map(shape) => write!(f, "{{text: {shape}, …}}"),
            Self::Either(shapes) => f.write_str(&shapes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")),
            Self::Named(name) => f.write_str(name),
            Self::Object(members) => {
                let one = |member: &Member| format!("\"{}\"{}: {}", member.name, if member.required { "" } else { "?" }, member.shape);
                write!(f, "{{{}}}", members.iter().map(one).collect::<Vec<_>>().join(", "))
            }
        }
    }
}
