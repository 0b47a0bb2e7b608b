//! The few ONNX messages that are read, and how a file is known to be one.
//!
//! Field numbers are those of the published `onnx.proto`. What is not listed here is skipped while decoding. Byte
//! fields share the file's buffer, so weights are not copied until they become arrays. A message of a few bytes can
//! stand for hundreds in memory, so [`read`] weighs the file before it decodes it. Next: `node.rs`.

use std::ops::{Deref, DerefMut};

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{DecodeContext, WireType};
use prost::{DecodeError, Message};

use crate::error::Error;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(crate) producer_name: String,
    #[prost(string, tag = "3")]
    pub(crate) producer_version: String,
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opset_import: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "25")]
    pub(crate) functions: Vec<Function>,
}

/// A function of the model's own: nodes to be written out where it is called.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Function {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "4")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub(crate) output: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) node: Vec<Node>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) opset_import: Vec<OperatorSet>,
    #[prost(string, tag = "10")]
    pub(crate) domain: String,
    /// Attributes that a call may leave out.
    #[prost(message, repeated, tag = "11")]
    pub(crate) attribute_proto: Vec<Listed>,
    #[prost(string, tag = "13")]
    pub(crate) overload: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OperatorSet {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(crate) node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) output: Vec<ValueInfo>,
    /// Only to refuse it: each entry is kept as bytes.
    #[prost(bytes = "bytes", repeated, tag = "15")]
    pub(crate) sparse_initializer: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<Listed>,
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
    #[prost(string, tag = "8")]
    pub(crate) overload: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(float, tag = "2")]
    pub(crate) f: f32,
    #[prost(int64, tag = "3")]
    pub(crate) i: i64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) s: Bytes,
    #[prost(message, optional, tag = "5")]
    pub(crate) t: Option<Tensor>,
    #[prost(message, optional, boxed, tag = "6")]
    pub(crate) g: Option<Box<Graph>>,
    #[prost(float, repeated, tag = "7")]
    pub(crate) floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub(crate) ints: Vec<i64>,
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub(crate) strings: Vec<Bytes>,
    /// Within a function: the caller's attribute that this one is.
    #[prost(string, tag = "21")]
    pub(crate) ref_attr_name: String,
}

/// An attribute whose lists are given their room when they begin: a tree ensemble's are most of its file, and growing
/// them piece by piece would hold them twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Listed(Attribute);

impl From<Attribute> for Listed {
    fn from(attribute: Attribute) -> Self {
        Self(attribute)
    }
}

impl Deref for Listed {
    type Target = Attribute;

    fn deref(&self) -> &Attribute {
        &self.0
    }
}

impl DerefMut for Listed {
    fn deref_mut(&mut self) -> &mut Attribute {
        &mut self.0
    }
}

/// How tree ensembles say how a node decides; each node says it again.
const MODES: [&[u8]; 8] =
    [b"BRANCH_LEQ", b"BRANCH_LT", b"BRANCH_GTE", b"BRANCH_GT", b"BRANCH_EQ", b"BRANCH_NEQ", b"BRANCH_MEMBER", b"LEAF"];

impl Message for Listed {
    fn merge_field(&mut self, tag: u32, wire: WireType, buf: &mut impl Buf, ctx: DecodeContext) -> Result<(), DecodeError> {
        let Attribute { floats, ints, strings, .. } = &mut self.0;
        let count = || following(u64::from(tag), wire as u64, buf.chunk());
        match tag {
            7 if floats.is_empty() => floats.reserve_exact(count()),
            8 if ints.is_empty() => ints.reserve_exact(count()),
            9 if strings.is_empty() => strings.reserve_exact(count()),
            _ => {}
        }
        self.0.merge_field(tag, wire, buf, ctx)?;
        // What is short need not hold on to the file, and a text that is always the same takes no room.
        match tag {
            4 => loosen(&mut self.0.s),
            5 => self.0.t.iter_mut().for_each(Tensor::loosen),
            9 => {
                let few = self.0.strings.capacity() <= LOOSE_MAX;
                if let Some(last) = self.0.strings.last_mut() {
                    match MODES.iter().find(|&&mode| mode == &**last) {
                        Some(mode) => *last = Bytes::from_static(mode),
                        None if few => loosen(last),
                        None => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.0.encode_raw(buf);
    }

    fn encoded_len(&self) -> usize {
        self.0.encoded_len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// The most bytes, and texts of a list, that are copied so that they do not hold on to the whole file.
const LOOSE_MAX: usize = 4096;

fn loosen(bytes: &mut Bytes) {
    if bytes.len() <= LOOSE_MAX {
        *bytes = Bytes::copy_from_slice(bytes);
    }
}

impl Tensor {
    fn loosen(&mut self) {
        loosen(&mut self.raw_data);
        if self.string_data.len() <= LOOSE_MAX {
            self.string_data.iter_mut().for_each(loosen);
        }
    }
}

/// How many values of a list follow each other from `rest` on, which stands behind the key of the first.
fn following(tag: u64, wire: u64, rest: &[u8]) -> usize {
    let mut fields = Fields(rest);
    match (tag, fields.value(wire)) {
        (_, None) => return 0,
        (7, Some(Some(packed))) => return packed.len() / 4,
        (8, Some(Some(packed))) => return ends(packed),
        _ => {}
    }
    let mut count = 1;
    while fields.varint() == Some(tag << 3 | wire) && fields.value(wire).is_some() {
        count += 1;
    }
    count
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub(crate) float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(crate) int32_data: Vec<i32>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(crate) string_data: Vec<Bytes>,
    #[prost(int64, repeated, tag = "7")]
    pub(crate) int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub(crate) raw_data: Bytes,
    #[prost(double, repeated, tag = "10")]
    pub(crate) double_data: Vec<f64>,
    /// Only to refuse it: where the data lies outside.
    #[prost(bytes = "bytes", repeated, tag = "13")]
    pub(crate) external_data: Vec<Bytes>,
    #[prost(int32, tag = "14")]
    pub(crate) data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) r#type: Option<Type>,
}

/// A value's type; only tensors are looked into, and what a dictionary maps.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Type {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor: Option<TensorType>,
    #[prost(message, optional, tag = "5")]
    pub(crate) map: Option<MapType>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MapType {
    #[prost(int32, tag = "1")]
    pub(crate) key: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<MapValue>,
}

/// What stands behind each key, where that is a plain value.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MapValue {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorType {
    #[prost(int32, tag = "1")]
    pub(crate) element: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub(crate) value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub(crate) param: Option<String>,
}

/// The wire's four ways to write a field, as they begin: number and rest.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The value behind a key of this kind; its bytes where it has a length.
    fn value(&mut self, wire: u64) -> Option<Option<&'a [u8]>> {
        Some(match wire {
            0 => self.varint().map(|_| None)?,
            1 => self.take(8).map(|_| None)?,
            2 => {
                let length = self.varint()?;
                Some(self.take(length)?)
            }
            5 => self.take(4).map(|_| None)?,
            _ => return None,
        })
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    /// The field's number and, where it has a length, its bytes.
    type Item = Option<(u64, Option<&'a [u8]>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let one = |fields: &mut Self| {
            let key = fields.varint()?;
            Some((key >> 3, fields.value(key & 7)?))
        };
        let item = one(self);
        if item.is_none() {
            self.0 = &[];
        }
        Some(item)
    }
}

/// Whether a longer file that begins so may be a model: a version, then a field that one has. The graph itself may be
/// longer than what is looked at.
pub(crate) fn may_begin(head: &[u8]) -> bool {
    let mut fields = Fields(head);
    if head.first() != Some(&0x08) || !matches!(fields.next(), Some(Some((1, None)))) {
        return false;
    }
    fields.varint().is_some_and(|key| matches!(key >> 3, 1..=8 | 14 | 20 | 25 | 26))
}

/// Whether the bytes begin like a model: a version, and then only fields that a model has, among them a graph or the
/// operator sets. The whole file is walked by its outer fields, which are few.
pub(crate) fn recognises(bytes: &[u8]) -> bool {
    // `ir_version` is the first field that every writer writes.
    if bytes.first() != Some(&0x08) {
        return false;
    }
    let (mut graph, mut sets) = (false, false);
    for (count, field) in Fields(bytes).enumerate() {
        match field {
            Some((7, Some(_))) => graph = true,
            Some((8, Some(_))) => sets = true,
            Some((1..=6 | 14 | 20 | 25 | 26, _)) if count < 100_000 => {}
            // Cut off or not a model: taken as one only where a graph was seen, so that the refusal names ONNX.
            _ => return graph,
        }
    }
    graph || sets
}

/// Which message a field holds, for weighing.
#[derive(Clone, Copy)]
enum Inside {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    Tensor,
    Info,
    Shallow,
}

/// Bytes in memory that a message of a kind takes before its own lists.
pub(crate) const MESSAGE: usize = 360;
pub(crate) const STRING: usize = 40;
/// Bytes in memory of a whole number, however short it is written, and again of the array it becomes.
const WHOLE: usize = 8;
/// How many bytes in memory a byte of a file may stand for, and how many any file may take.
const GROWTH: usize = 6;
const FREE: usize = 64 << 20;
/// The deepest nesting of graphs in graphs.
pub(super) const DEPTH_MAX: usize = 40;

fn weigh(bytes: &[u8], inside: Inside, depth: usize, weight: &mut usize, most: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::invalid(format!("the ONNX file nests graphs deeper than {DEPTH_MAX} levels")));
    }
    for field in Fields(bytes) {
        let Some((number, bytes)) = field else { return Err(truncated()) };
        *weight += WHOLE;
        if let Some(bytes) = bytes {
            // Whole numbers packed one behind the other: as many as bytes that end one.
            *weight += match (inside, number) {
                (Inside::Attribute, 8) => WHOLE * ends(bytes),
                (Inside::Tensor, 1 | 5 | 7) => 2 * WHOLE * ends(bytes),
                _ => 0,
            };
        }
        if *weight > most {
            return Err(Error::invalid("the ONNX file holds far more small messages than a model has; it cannot be served"));
        }
        let Some(bytes) = bytes else { continue };
        let next = match (inside, number) {
            (Inside::Model, 7) | (Inside::Attribute, 6) => Some(Inside::Graph),
            (Inside::Model, 8) | (Inside::Function, 9) => Some(Inside::Shallow),
            (Inside::Model, 25) => Some(Inside::Function),
            (Inside::Graph, 1) | (Inside::Function, 7) => Some(Inside::Node),
            (Inside::Graph, 5) | (Inside::Attribute, 5) => Some(Inside::Tensor),
            (Inside::Graph, 11 | 12) => Some(Inside::Info),
            (Inside::Node, 5) | (Inside::Function, 11) => Some(Inside::Attribute),
            // Types and shapes nest a few levels of small messages.
            (Inside::Info, 2) => {
                *weight += MESSAGE + bytes.len() * 16;
                None
            }
            _ => None,
        };
        *weight += if next.is_some() { MESSAGE } else { STRING };
        if let Some(next) = next {
            weigh(bytes, next, depth + 1, weight, most)?;
        }
    }
    Ok(())
}

fn ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte < 0x80).count()
}

fn truncated() -> Error {
    Error::invalid("the ONNX file is cut off or damaged; upload it again")
}

/// Decodes a model after weighing it.
///
/// # Errors
/// When it is damaged, or would take far more memory than its size announces.
pub(crate) fn read(bytes: Bytes) -> Result<Model, Error> {
    let mut weight = 0;
    weigh(&bytes, Inside::Model, 0, &mut weight, bytes.len().saturating_mul(GROWTH).saturating_add(FREE))?;
    let mut model = Model::decode(bytes).map_err(|error| truncated().because(error))?;
    model.graph.iter_mut().flat_map(|graph| &mut graph.initializer).for_each(Tensor::loosen);
    Ok(model)
}
