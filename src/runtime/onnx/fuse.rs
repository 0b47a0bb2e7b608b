//! Steps that the step before them can do on its way out: a constant added to a product, what is below zero cut off.
//!
//! A step is taken over where it is the only reader of the other's only array and reads constants beside it. Which
//! steps go together is for the operators to say. Must not know any of them. Next: `graph.rs`.

use super::graph::{Drafts, Source};
use super::value::Value;

/// Joins steps; those that were taken over are left out.
pub(super) fn fuse(drafts: &mut Drafts, constants: &[Value], slots: usize, outputs: &[Source]) {
    // How often each array is read, and by which step last.
    let mut readers: Vec<(usize, usize)> = vec![(0, usize::MAX); slots];
    let inner = drafts.iter().enumerate().flat_map(|(at, (_, sources, _))| sources.iter().flatten().map(move |source| (source, at)));
    for (source, at) in inner.chain(outputs.iter().map(|source| (source, usize::MAX))) {
        if let Source::Slot(slot) = source
            && let Some((count, reader)) = readers.get_mut(*slot)
        {
            (*count, *reader) = (*count + 1, at);
        }
    }
    let mut gone = vec![false; drafts.len()];
    for at in 0..drafts.len() {
        while let Some(reader) = next(drafts, at, &readers, constants) {
            let made = drafts.get_mut(reader).map(|(_, _, made)| std::mem::take(made));
            if let (Some((_, _, own)), Some(made), Some(gone)) = (drafts.get_mut(at), made, gone.get_mut(reader)) {
                (*own, *gone) = (made, true);
            }
        }
    }
    let mut gone = gone.into_iter();
    drafts.retain(|_| gone.next() != Some(true));
}

/// The step whose work the one at `at` just took over.
fn next(drafts: &mut Drafts, at: usize, readers: &[(usize, usize)], constants: &[Value]) -> Option<usize> {
    let (_, _, made) = drafts.get(at)?;
    let &[Some(Source::Slot(slot))] = made.as_slice() else { return None };
    let &(1, reader) = readers.get(slot)? else { return None };
    let (step, sources, _) = drafts.get(reader)?;
    let tail = step.op.tail()?;
    let constant = match *sources.as_slice() {
        [Some(Source::Slot(_))] => None,
        [Some(Source::Slot(_)), Some(Source::Constant(constant))] | [Some(Source::Constant(constant)), Some(Source::Slot(_))] => {
            Some(constants.get(constant)?)
        }
        _ => return None,
    };
    let (step, _, _) = drafts.get_mut(at)?;
    step.op.fuse(tail, constant).then_some(reader)
}
