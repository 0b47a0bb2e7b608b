//! AWS's housing example, made on the spot: a preprocessor exported from scikit-learn and one linear learner a city.
//!
//! The preprocessor (`preprocess.onnx`, made by `tests/fixtures/make_housing.py`) takes eight raw columns, two of them
//! `y` or `n`. Each city's model is really trained: on houses drawn from a seeded generator, through the preprocessor, as
//! a data scientist would. Knows nothing of the server. Next: `mod.rs`, which uploads them.

use super::city::Dice;
use crate::artifact::{Artifact, Limits};
use crate::error::{Error, Kind, Result};
use crate::runtime::{self, Model};
use crate::tensor::{Block, Tensor};
use crate::train::linear_learner::{Predictor, Settings, train};
use crate::train::loss::Loss;
use crate::train::table::Table;

/// Standardises six columns, one-hot encodes two.
pub(super) const PREPROCESS: &[u8] = include_bytes!("preprocess.onnx");
/// One house: year, square feet, bedrooms, bathrooms, acres, garage, porch, deck.
pub(super) const HOUSE: &str = "1992,1659.5,3,2,0.87,2,n,y";

const HOUSES: usize = 400;

/// The preprocessor, ready to be asked.
///
/// # Errors
/// Never, for the file that is built in.
pub(super) fn preprocessor() -> Result<Box<dyn Model>> {
    let prepared = runtime::prepare(Artifact::read(PREPROCESS, Limits::default())?)?;
    let length = prepared.bytes.len() as u64;
    runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), length)
}

/// A linear learner of prices around `level` dollars, trained on houses of a city. The same arguments make the same bytes.
///
/// # Errors
/// Never, for the preprocessor that is built in.
pub(super) fn city(preprocessor: &dyn Model, seed: u64, level: f32) -> Result<Vec<u8>> {
    let mut dice = Dice(seed);
    let mut numbers: [Vec<f32>; 6] = Default::default();
    let mut words: [Vec<Box<str>>; 2] = Default::default();
    let mut labels = Vec::with_capacity(HOUSES);
    for _ in 0..HOUSES {
        let (year, feet, beds, baths) =
            (dice.whole(1900.0, 2020.0), 600.0 + dice.unit() * 3400.0, dice.whole(1.0, 6.0), dice.whole(1.0, 5.0));
        let (acres, garage, porch, deck) = (dice.unit() * 2.5, dice.whole(0.0, 3.0), dice.unit() < 0.5, dice.unit() < 0.5);
        let noise = (dice.unit() - 0.5) * 0.04;
        let worth = (year - 1960.0) * 0.002 + (feet - 2100.0) * 0.0003 + beds * 0.02 + baths * 0.03 + acres * 0.04 + garage * 0.02;
        let extras = f32::from(u8::from(porch)) * 0.01 + f32::from(u8::from(deck)) * 0.015;
        labels.push(f64::from(level * (1.0 + worth + extras + noise)));
        for (column, value) in numbers.iter_mut().zip([year, feet, beds, baths, acres, garage]) {
            column.push(value);
        }
        for (column, has) in words.iter_mut().zip([porch, deck]) {
            column.push(if has { "y" } else { "n" }.into());
        }
    }
    let columns = numbers.into_iter().map(|values| Tensor::new(1, values).map(Block::F32));
    let columns = columns.chain(words.into_iter().map(|values| Tensor::new(1, values).map(Block::Text)));
    let input: Option<Vec<Block>> = columns.collect();
    let scores = preprocessor.predict(&input.unwrap_or_default())?.scores;
    let Block::F32(scores) = scores else { return Err(Error::new(Kind::Internal, "the preprocessor gives no numbers")) };
    let table = Table { names: Vec::new(), columns: scores.columns(), values: scores.into_values(), labels };
    let settings = Settings { predictor: Predictor::Regressor, loss: Loss::Squared, l1: 0.0, l2: 1e-6, passes: 200 };
    Ok(train(&table, settings, &|| ())?.artifact)
}
