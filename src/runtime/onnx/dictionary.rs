//! A dictionary as the input of a graph: its words become the columns of a matrix.
//!
//! `DictVectorizer` looks each word of its vocabulary up and takes 0 where there is none. A row here holds a number for
//! every word, 0 where it is left out, so the operator hands the matrix on and the words are the names of its columns.
//! Knows the file's messages, not arrays. Next: `rows.rs`, which then sees a plain input.

use super::graph::reads;
use super::proto;
use crate::error::{Error, Result};
use crate::names::shown;
use crate::runtime::pipeline::CELLS_MAX;

/// Makes the only input, a dictionary that one `DictVectorizer` reads, a matrix, and gives its words; `None` where there
/// is no such input.
///
/// # Errors
/// When the vocabulary is none: empty, with a word twice, or of another type than the keys.
pub(super) fn spread(graph: &mut proto::Graph) -> Result<Option<Vec<Box<str>>>> {
    let [input] = graph.input.as_slice() else { return Ok(None) };
    let Some(map) = input.r#type.as_ref().and_then(|r#type| r#type.map.clone()) else { return Ok(None) };
    let element = map.value.and_then(|value| value.tensor).map_or(0, |tensor| tensor.element);
    let name = input.name.clone();
    let sole = reads(graph).get(name.as_str()) == Some(&1);
    let reader = graph.node.iter_mut().find(|node| {
        sole && matches!(element, 1 | 7 | 11)
            && node.op_type == "DictVectorizer"
            && node.domain == "ai.onnx.ml"
            && node.input == [name.as_str()]
    });
    let Some(node) = reader else { return Ok(None) };
    let refuse = |why: String| Error::invalid(why).within(super::graph::place(node));
    let list = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    let words: Vec<Box<str>> = match (map.key, list("string_vocabulary"), list("int64_vocabulary")) {
        (8, Some(texts), None) => {
            let read = |word: &bytes::Bytes| std::str::from_utf8(word).map(Box::from);
            texts
                .strings
                .iter()
                .map(read)
                .collect::<std::result::Result<_, _>>()
                .map_err(|_| refuse("a word of it is not UTF-8".to_owned()))?
        }
        (7, None, Some(numbers)) => numbers.ints.iter().map(|number| number.to_string().into()).collect(),
        _ => return Err(refuse("its vocabulary is not of the type of the keys".to_owned())),
    };
    if words.is_empty() || words.len() > CELLS_MAX {
        return Err(refuse(format!("its vocabulary holds {} words", words.len())));
    }
    let mut sorted: Vec<&str> = words.iter().map(|word| &**word).collect();
    sorted.sort_unstable();
    if let Some([twice, _]) = sorted.array_windows().find(|[one, other]| one == other) {
        return Err(refuse(format!("`{}` stands twice in its vocabulary", shown(twice))));
    }
    let plain = proto::Node { op_type: "Identity".to_owned(), domain: String::new(), attribute: Vec::new(), ..node.clone() };
    *node = plain;
    let side = |value| proto::Dimension { value, param: None };
    let shape = proto::Shape { dim: vec![side(None), side(i64::try_from(words.len()).ok())] };
    let tensor = Some(proto::TensorType { element, shape: Some(shape) });
    graph.input = vec![proto::ValueInfo { name, r#type: Some(proto::Type { tensor, map: None }) }];
    Ok(Some(words))
}
