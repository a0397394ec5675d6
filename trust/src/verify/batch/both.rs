//! Two elements at once, whose steps do not wait for each other.

use super::field::Field;

/// Each step is done to the one and then to the other: in a chain of squares the processor has something to do while the
/// first of them is on its way.
#[derive(Clone, Copy)]
pub(super) struct Both<F>(pub(super) F, pub(super) F);

impl<F: Field> Field for Both<F> {
    #[inline(always)]
    fn zero() -> Self {
        Self(F::zero(), F::zero())
    }

    #[inline(always)]
    fn one() -> Self {
        Self(F::one(), F::one())
    }

    #[inline(always)]
    fn mul(self, by: Self) -> Self {
        Self(self.0.mul(by.0), self.1.mul(by.1))
    }

    #[inline(always)]
    fn square(self) -> Self {
        Self(self.0.square(), self.1.square())
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0.add(other.0), self.1.add(other.1))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(self.0.sub(other.0), self.1.sub(other.1))
    }

    #[inline(always)]
    fn carry(self) -> Self {
        Self(self.0.carry(), self.1.carry())
    }
}
