//! Riders who travel on the holder's card: how many of which rider category.

use crate::RiderClass;

/// So many riders of each category besides the card's holder. Four bits a category, the first
/// category in the lowest ones; that number is also the form on the wire and in stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Companions(u64);

/// Why some riders cannot be companions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompanionsError {
    /// More than a record can say.
    #[error("more than {} companions", Companions::RIDERS_MAX)]
    TooMany,
    /// A category beyond the sixteen that a card can name.
    #[error("there is no rider category {0}")]
    UnknownClass(u8),
}

impl Companions {
    /// The holder travels alone.
    pub const NONE: Self = Self(0);
    /// All categories together.
    pub const RIDERS_MAX: u8 = 15;
    const CLASSES: u8 = 16;

    /// From numbers of riders by category; a category that stands twice is added up.
    pub fn new(
        riders: impl IntoIterator<Item = (RiderClass, u8)>,
    ) -> Result<Self, CompanionsError> {
        let (mut packed, mut all) = (0_u64, 0_u8);
        for (class, count) in riders {
            if class.0 >= Self::CLASSES {
                return Err(CompanionsError::UnknownClass(class.0));
            }
            all = all.saturating_add(count);
            if all > Self::RIDERS_MAX {
                return Err(CompanionsError::TooMany);
            }
            // All together fit four bits, so no category runs over into the next.
            packed += u64::from(count) << (4 * u32::from(class.0));
        }
        Ok(Self(packed))
    }

    /// Those who are there, by category ascending.
    pub fn iter(self) -> impl Iterator<Item = (RiderClass, u8)> {
        let count = move |class: u8| (self.0 >> (4 * u32::from(class)) & 0xf).to_le_bytes()[0];
        (0..Self::CLASSES)
            .map(move |class| (RiderClass(class), count(class)))
            .filter(|(_, count)| *count > 0)
    }

    /// How many in all.
    pub fn riders(self) -> u8 {
        self.iter().map(|(_, count)| count).sum()
    }

    /// Whether the holder travels alone.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The number on the wire and in stores.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// From that number.
    pub fn from_number(number: u64) -> Result<Self, CompanionsError> {
        // Sixteen categories of fifteen fit the sum.
        if Self(number).riders() > Self::RIDERS_MAX {
            return Err(CompanionsError::TooMany);
        }
        Ok(Self(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn companions_are_counted_by_category_and_read_back_from_their_number() {
        let some = [(RiderClass(15), 2), (RiderClass(1), 3), (RiderClass(1), 1)];
        let companions = Companions::new(some).unwrap();
        let listed: Vec<_> = companions.iter().collect();
        assert_eq!(listed, [(RiderClass(1), 4), (RiderClass(15), 2)]);
        assert_eq!((companions.riders(), companions.is_empty()), (6, false));
        assert_eq!(Companions::from_number(companions.number()), Ok(companions));
        assert_eq!(Companions::new([(RiderClass(3), 0)]), Ok(Companions::NONE));
        assert!(Companions::NONE.is_empty());
    }

    #[test]
    fn more_than_fifteen_companions_and_a_category_beyond_sixteen_are_refused() {
        let class = RiderClass;
        assert!(Companions::new([(class(0), 7), (class(9), 8)]).is_ok());
        assert_eq!(Companions::new([(class(0), 8), (class(9), 8)]), Err(CompanionsError::TooMany));
        assert_eq!(Companions::new([(class(0), 255)]), Err(CompanionsError::TooMany));
        let beyond = Err(CompanionsError::UnknownClass(16));
        assert_eq!(Companions::new([(class(16), 1)]), beyond);
        assert_eq!(Companions::from_number(0x88), Err(CompanionsError::TooMany));
        assert_eq!(Companions::from_number(u64::MAX), Err(CompanionsError::TooMany));
    }
}
