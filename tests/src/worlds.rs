//! What tests in random scripted worlds share.

use ostler::{Error, testing::Dice};
use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

/// Handles of one world, at most.
pub const HANDLES: u64 = 12;

/// Sends a call, polls it so many times at most and then drops it; or waits for it. A host that has polled a call lets virtual time move
/// until it does something else, and how far that gets is not the same every time.
pub fn try_out<T>(dice: &mut Dice, polls: u64, call: ostler::Call<T>) -> Option<Result<T, Error>> {
    if !dice.one_in(4) {
        return Some(call.wait());
    }
    let mut call = pin!(call.begin().into_future());
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..dice.below(3).min(polls) {
        if let std::task::Poll::Ready(answer) = call.as_mut().poll(&mut context) {
            return Some(answer);
        }
    }
    None
}
