// SPDX-License-Identifier: GPL-2.0-only

//! Gives each address in functions a small number, fast enough to be asked for each record.
//!
//! In: addresses as records have them. Out: numbers that count up, to index a `Vec` with. Names are not its matter: an
//! analysis asks [`crate::functions::Functions`] for them once per number.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// At most this many addresses have a number of their own; a hostile file could have as many as it has records. A
/// distribution's kernel has some 60,000 functions that can be traced.
pub(crate) const MOST_ADDRESSES: usize = 1 << 17;

/// The number that all addresses beyond [`MOST_ADDRESSES`] share.
pub(crate) const OTHERS: usize = 0;

/// Entries of the direct-mapped front, as a power of two. 16 KiB, so that it stays in the first-level cache.
const RECENT_BITS: u32 = 10;

/// The addresses that appeared so far.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// The last address that fell on each place, and its number.
    recent: Vec<(u64, u32)>,
    numbers: HashMap<u64, u32, RandomState>,
    /// By number.
    addresses: Vec<u64>,
}

impl Default for Addresses {
    fn default() -> Self {
        // Address 0 has number 1 from the start, so that the empty places of `recent` tell the truth.
        let mut numbers = HashMap::default();
        numbers.insert(0, 1);
        Self {
            recent: vec![(0, 1); 1 << RECENT_BITS],
            numbers,
            addresses: vec![0, 0],
        }
    }
}

impl Addresses {
    /// The number of an address.
    #[inline]
    pub(crate) fn number(&mut self, address: u64) -> usize {
        // Functions begin at multiples of 16; the product's upper bits depend on all of the address.
        let hash = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - RECENT_BITS);
        let place = usize::try_from(hash).unwrap_or(0);
        match self.recent.get(place) {
            Some((known, number)) if *known == address => index(*number),
            _ => self.look_up(address, place),
        }
    }

    /// The address of a number; `None` for [`OTHERS`] and numbers that were not given out.
    pub(crate) fn address(&self, number: usize) -> Option<u64> {
        if number == OTHERS {
            return None;
        }
        self.addresses.get(number).copied()
    }

    /// One past the highest number.
    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }

    fn look_up(&mut self, address: u64, place: usize) -> usize {
        let number = match self.numbers.get(&address) {
            Some(number) => *number,
            None if self.addresses.len() > MOST_ADDRESSES => return OTHERS,
            None => {
                let number = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
                self.addresses.push(address);
                self.numbers.insert(address, number);
                number
            }
        };
        if let Some(entry) = self.recent.get_mut(place) {
            *entry = (address, number);
        }
        index(number)
    }
}

#[inline]
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(OTHERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_number() {
        let mut addresses = Addresses::default();
        let given: Vec<usize> = (0..5000_u64)
            .map(|count| addresses.number(0xffff_ffff_8100_0000 + 16 * count))
            .collect();
        for (count, number) in (0_u64..).zip(&given) {
            let address = 0xffff_ffff_8100_0000 + 16 * count;
            assert_eq!(addresses.number(address), *number);
            assert_eq!(addresses.address(*number), Some(address));
        }
        assert_eq!(addresses.len(), 5002, "5000, that of 0, and the others");
        let zero = addresses.number(0);
        assert_eq!(addresses.address(zero), Some(0));
        assert_eq!(addresses.address(OTHERS), None);
    }

    #[test]
    fn addresses_beyond_the_bound_share_a_number() {
        let mut addresses = Addresses::default();
        let last = (1..=MOST_ADDRESSES as u64)
            .map(|address| addresses.number(address))
            .last();
        assert_eq!(last, Some(OTHERS));
        assert_eq!(addresses.number(u64::MAX), OTHERS);
        assert_ne!(addresses.number(1), OTHERS);
        assert_eq!(addresses.len(), MOST_ADDRESSES + 1);
    }
}
