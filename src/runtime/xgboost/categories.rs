//! The table of a data frame's categories that the library keeps in a model since 3.1.
//!
//! `cats.enc` has an entry for each column: texts as `offsets` into the bytes of `values`, numbers as a `type` and their
//! `values`, nothing for a column without categories. A category's place is its code. Only texts are kept: a number in
//! a row is a code, also where the data frame's categories were numbers. `feature_segments` and `sorted_idx` say where
//! columns begin and what the order is, which is known without them. A model is served by codes without its table, so
//! one that cannot be believed is left out. Next: `document.rs`, which asks for it.

use crate::codec::pull::Pull;
use crate::error::Result;

/// The texts of each column that has some.
pub(super) type Lists = Vec<(usize, Vec<Box<str>>)>;

/// The most categories of all columns together; each takes several times its bytes in the file.
const CATEGORIES_MAX: usize = 1 << 22;

/// The first version that counts a text's bytes: those before count its characters, so that behind the first one outside
/// of ASCII all texts are cut in wrong places.
const COUNTS_BYTES: (i32, i32) = (3, 4);

/// Reads `cats`, as far as its texts are where it says.
///
/// # Errors
/// When they are too many.
pub(super) fn read_categories<'a, P: Pull<'a>>(document: &mut P) -> Result<Lists> {
    let (mut lists, mut total) = (Lists::new(), 0);
    document.object(|document, key| {
        if key != "enc" {
            return document.skip();
        }
        document.array(|document, column| {
            let mut offsets = Vec::new();
            document.object(|document, key| match key {
                "offsets" => {
                    offsets = document.integers()?;
                    Ok(())
                }
                // Numbers have no offsets: the library writes keys in their order, this one last.
                "values" if offsets.len() > 1 => {
                    total += offsets.len() - 1;
                    if total > CATEGORIES_MAX {
                        return Err(document.fail(format_args!("the model lists more than {CATEGORIES_MAX} categories")));
                    }
                    let bytes = document.integers()?;
                    lists.extend(texts(&offsets, &bytes).map(|texts| (column, texts)));
                    Ok(())
                }
                _ => document.skip(),
            })
        })
    })?;
    Ok(lists)
}

/// The texts between neighbouring `offsets`; `None` when they are not within `bytes` or no UTF-8.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a byte, which the library writes as a signed one")]
fn texts(offsets: &[i32], bytes: &[i32]) -> Option<Vec<Box<str>>> {
    let bytes: Vec<u8> = bytes.iter().map(|&byte| (-128..256).contains(&byte).then_some(byte as u8)).collect::<Option<_>>()?;
    let text = |&[start, end]: &[i32; 2]| {
        let text = bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?;
        std::str::from_utf8(text).ok().map(Box::from)
    };
    offsets.array_windows().map(text).collect()
}

/// The lists of a model of `features` columns that can be believed of `release`.
pub(super) fn believed(mut lists: Lists, features: usize, release: (i32, i32)) -> Lists {
    lists.retain(|(column, texts)| *column < features && (release >= COUNTS_BYTES || texts.iter().all(|text| text.is_ascii())));
    lists
}
