//! The names of a model's columns, where a name stands among them, and the texts that a column's codes stand for.
//!
//! A row that names its columns asks for every one of them, so a place is found without going through the names: their
//! order is worked out once for a model, by the first row that asks. So it is with categories. Knows neither rows nor
//! models. Next: `json.rs`, which asks for names; `payload.rs`, which asks for codes.

use std::ops::Deref;
use std::sync::OnceLock;

/// Names in the order of the columns; empty where a model carries none.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    names: Vec<Box<str>>,
    order: OnceLock<Order>,
    /// By column, ascending; only of columns whose categories are texts.
    categories: Vec<(usize, Categories)>,
}

/// The texts that the codes of a column stand for: code 0 for the first.
#[derive(Debug, Clone, Default)]
pub struct Categories(Columns);

impl Categories {
    /// The code of `text`.
    pub fn code(&self, text: &str) -> Option<usize> {
        self.0.place(text)
    }
}

impl Deref for Categories {
    type Target = [Box<str>];

    fn deref(&self) -> &[Box<str>] {
        &self.0
    }
}

#[derive(Debug, Clone)]
struct Order {
    /// Places by the names that stand there; of equal names the first place first.
    places: Box<[u32]>,
    distinct: bool,
}

impl Columns {
    fn order(&self) -> &Order {
        self.order.get_or_init(|| {
            let name = |&place: &u32| self.names.get(place as usize);
            let mut places: Vec<u32> = (0..u32::MAX).zip(&self.names).map(|(place, _)| place).collect();
            places.sort_by(|a, b| name(a).cmp(&name(b)));
            let distinct = places.is_sorted_by(|a, b| name(a) != name(b));
            Order { places: places.into(), distinct }
        })
    }

    /// Where `name` stands; the first place, if it stands twice.
    pub fn place(&self, name: &str) -> Option<usize> {
        let Order { places, .. } = self.order();
        let at = places.partition_point(|&place| self.names.get(place as usize).is_some_and(|other| **other < *name));
        let place = *places.get(at)? as usize;
        self.names.get(place).is_some_and(|found| **found == *name).then_some(place)
    }

    /// Whether no name stands twice.
    pub fn distinct(&self) -> bool {
        self.order().distinct
    }

    /// With the texts that codes stand for, each list with its column.
    #[must_use]
    pub fn with_categories(mut self, lists: Vec<(usize, Vec<Box<str>>)>) -> Self {
        self.categories = lists.into_iter().map(|(column, texts)| (column, Categories(texts.into()))).collect();
        self.categories.sort_by_key(|(column, _)| *column);
        self
    }

    /// What the codes of `column` stand for, where it is known.
    pub fn categories(&self, column: usize) -> Option<&Categories> {
        let at = self.categories.binary_search_by_key(&column, |(column, _)| *column).ok()?;
        self.categories.get(at).map(|(_, categories)| categories)
    }

    /// The columns whose codes stand for texts, and these.
    pub fn categorical(&self) -> impl ExactSizeIterator<Item = (usize, &Categories)> {
        self.categories.iter().map(|(column, categories)| (*column, categories))
    }

    /// The same by the column's name or, without one, its number from 1.
    pub fn categories_by_name(&self) -> impl Iterator<Item = (String, &Categories)> {
        let name = |column: usize| self.names.get(column).map_or_else(|| (column + 1).to_string(), |name| name.to_string());
        self.categorical().map(move |(column, texts)| (name(column), texts))
    }

    /// Bytes in memory, the order included whether it was asked for or not.
    pub fn weight(&self) -> usize {
        let names: usize = self.names.iter().map(|name| size_of::<Box<str>>() + name.len() + size_of::<u32>()).sum();
        names + self.categories.iter().map(|(_, list)| size_of::<(usize, Categories)>() + list.0.weight()).sum::<usize>()
    }
}

impl From<Vec<Box<str>>> for Columns {
    fn from(names: Vec<Box<str>>) -> Self {
        Self { names, order: OnceLock::new(), categories: Vec::new() }
    }
}

impl Deref for Columns {
    type Target = [Box<str>];

    fn deref(&self) -> &[Box<str>] {
        &self.names
    }
}

impl PartialEq for Columns {
    fn eq(&self, other: &Self) -> bool {
        let one = |(column, list): &(usize, Categories)| (*column, list.to_vec());
        self.names == other.names && self.categories.iter().map(one).eq(other.categories.iter().map(one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_the_code_of_its_place_in_its_own_column() {
        let list = |texts: &[&str]| texts.iter().map(|&text| text.into()).collect::<Vec<Box<str>>>();
        let columns = Columns::default().with_categories(vec![(4, list(&["Rom", "", "Köln"])), (1, list(&["b", "a"]))]);
        let code = |column, text| columns.categories(column).and_then(|categories| categories.code(text));
        assert_eq!([code(4, "Köln"), code(4, ""), code(1, "b"), code(1, "Rom"), code(0, "b")], [Some(2), Some(1), Some(0), None, None]);
        assert_eq!(columns.categorical().map(|(column, list)| (column, list.len())).collect::<Vec<_>>(), [(1, 2), (4, 3)]);
        assert!(columns != Columns::default() && columns.weight() > 5 * 20);
    }

    #[test]
    fn every_name_is_found_where_it_first_stands() {
        let names = |list: &[&str]| Columns::from(list.iter().map(|&name| name.into()).collect::<Vec<_>>());
        let columns = names(&["rooms", "age", "größe", "", "Age"]);
        for (at, name) in columns.iter().enumerate() {
            assert_eq!(columns.place(name), Some(at), "{name}");
        }
        assert!(columns.distinct() && columns.place("ag").is_none() && columns.place("zoo").is_none());
        let twice = names(&["b", "a", "b", "a"]);
        assert!(!twice.distinct());
        assert_eq!((twice.place("a"), twice.place("b")), (Some(1), Some(0)));
        assert!(names(&[]).distinct() && names(&[]).place("").is_none());
    }
}
