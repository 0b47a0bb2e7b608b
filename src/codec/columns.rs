//! The names of a model's columns, and where a name stands among them.
//!
//! A row that names its columns asks for every one of them, so a place is found without going through the names: their
//! order is worked out once for a model, by the first row that asks. Knows neither rows nor models. Next: `json.rs`,
//! which asks.

use std::ops::Deref;
use std::sync::OnceLock;

/// Names in the order of the columns; empty where a model carries none.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    names: Vec<Box<str>>,
    order: OnceLock<Order>,
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

    /// Bytes in memory, the order included whether it was asked for or not.
    pub fn weight(&self) -> usize {
        self.names.iter().map(|name| size_of::<Box<str>>() + name.len() + size_of::<u32>()).sum()
    }
}

impl From<Vec<Box<str>>> for Columns {
    fn from(names: Vec<Box<str>>) -> Self {
        Self { names, order: OnceLock::new() }
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
        self.names == other.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
