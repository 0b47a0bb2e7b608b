//! The prepared form's container: a head in JSON, then arrays of plain numbers, read straight into place.
//!
//! Layout, all little-endian: `RKPF`, the format number, the head's length and bytes, then per array its length in
//! bytes and its bytes. Knows no model. A prepared form is derived data: whoever changes what a model writes here
//! raises [`FORMAT`], and older forms are made again from their artifacts. Next: `mod.rs`.

use std::io::Read;

use bytemuck::Pod;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result};

/// The number of the layout. Forms with another number are never read.
pub const FORMAT: u32 = 4;

const MAGIC: [u8; 4] = *b"RKPF";
/// The longest head; feature names are the bulk of it.
const HEAD_MAX: u64 = 64 << 20;

fn damaged(what: &str) -> Error {
    Error::new(Kind::Internal, format!("a prepared form is damaged ({what}); run `rookery verify` on the database"))
}

/// Whether bytes begin as forms of this [`FORMAT`] do.
pub fn is_current(bytes: &[u8]) -> bool {
    bytes.strip_prefix(&MAGIC).is_some_and(|rest| rest.starts_with(&FORMAT.to_le_bytes()))
}

/// Writes a prepared form.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Starts one with its head.
    ///
    /// # Errors
    /// When the head cannot be written as JSON.
    pub fn new(head: &impl Serialize) -> Result<Self> {
        let head = serde_json::to_vec(head).map_err(Error::internal)?;
        if head.len() as u64 > HEAD_MAX {
            return Err(Error::invalid(format!("the names of its features take more than {} MiB", HEAD_MAX >> 20)));
        }
        let mut bytes = Vec::with_capacity(16 + head.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&(head.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&head);
        Ok(Self { bytes })
    }

    /// Appends an array.
    pub fn array<T: Pod>(&mut self, values: &[T]) {
        let raw: &[u8] = bytemuck::cast_slice(values);
        self.bytes.extend_from_slice(&(raw.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(raw);
    }

    /// The finished form.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a prepared form from where it is kept, without a copy in between.
pub struct Reader<'a> {
    source: &'a mut dyn Read,
    left: u64,
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({} bytes left)", self.left)
    }
}

impl<'a> Reader<'a> {
    /// Reads the head; the arrays follow in the order they were written.
    ///
    /// # Errors
    /// When it is no prepared form of this [`FORMAT`], or cut off.
    pub fn new<H: DeserializeOwned>(source: &'a mut dyn Read, length: u64) -> Result<(H, Self)> {
        let mut reader = Self { source, left: length };
        if reader.fixed::<4>()? != MAGIC || u32::from_le_bytes(reader.fixed()?) != FORMAT {
            return Err(damaged("another format"));
        }
        let length = u64::from_le_bytes(reader.fixed()?);
        if length > reader.left || length > HEAD_MAX {
            return Err(damaged("its head is cut off"));
        }
        let mut head = vec![0; usize::try_from(length).map_err(|_| damaged("its head is too long"))?];
        reader.fill(&mut head)?;
        let head = serde_json::from_slice(&head).map_err(|error| damaged("its head").because(error))?;
        Ok((head, reader))
    }

    fn fill(&mut self, place: &mut [u8]) -> Result<()> {
        self.left = self.left.checked_sub(place.len() as u64).ok_or_else(|| damaged("cut off"))?;
        self.source.read_exact(place).map_err(|error| damaged("cut off").because(error))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The next array.
    ///
    /// # Errors
    /// When it is cut off or no whole number of elements.
    pub fn array<T: Pod>(&mut self) -> Result<Vec<T>> {
        let length = u64::from_le_bytes(self.fixed()?);
        if length > self.left || !length.is_multiple_of(size_of::<T>() as u64) {
            return Err(damaged("an array is cut off"));
        }
        let count = usize::try_from(length).map_err(|_| damaged("an array is too long"))? / size_of::<T>();
        let mut values = vec![T::zeroed(); count];
        self.fill(bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }
}
