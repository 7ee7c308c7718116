//! The four sizes of an instance.

/// How many images an instance of the suite has; its number is the programs' argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 0: one image.
    Single,
    /// 1: 100 images, 15 in an older version of the suite.
    Small,
    /// 2: 1,000 images.
    Medium,
    /// 3: 10,000 images.
    Large,
}

impl Size {
    /// All of them, in the order of their numbers.
    pub const ALL: [Size; 4] = [Size::Single, Size::Small, Size::Medium, Size::Large];

    /// The size that an argument names, if it names one.
    pub fn from_argument(argument: &str) -> Option<Self> {
        let number: usize = argument.parse().ok()?;
        Self::ALL.get(number).copied()
    }

    /// The number that the suite passes.
    pub fn number(self) -> usize {
        self as usize
    }

    /// The name of its folders.
    pub fn name(self) -> &'static str {
        match self {
            Size::Single => "single",
            Size::Small => "small",
            Size::Medium => "medium",
            Size::Large => "large",
        }
    }

    /// The most images that its input has.
    pub fn images(self) -> usize {
        match self {
            Size::Single => 1,
            Size::Small => 100,
            Size::Medium => 1000,
            Size::Large => 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions() {
        for (number, size) in Size::ALL.into_iter().enumerate() {
            assert_eq!(size.number(), number);
            assert_eq!(Size::from_argument(&number.to_string()), Some(size));
        }
        for wrong in ["", "4", "-1", "x", "1.0"] {
            assert_eq!(Size::from_argument(wrong), None, "{wrong}");
        }
    }
}
