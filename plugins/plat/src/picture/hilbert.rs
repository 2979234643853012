/*!
The Hilbert curve: a line through every cell of a square, on which neighbours stay neighbours.

Every aligned block of 4^m indexes is a square of 2^m cells a side, so that a subnet is a square in a
picture of its network.
*/

/// Column and row of the `index`-th cell of a square of `2^order` cells a side; the curve begins at
/// `(0, 0)` and ends at `(2^order - 1, 0)`. `index` is below `4^order`, `order` at most 15.
pub(crate) fn place(order: u32, index: u32) -> (u32, u32) {
    let (mut x, mut y) = (0_u32, 0_u32);
    let mut rest = index;
    for level in 0..order {
        let side = 1_u32 << level;
        let right = 1 & (rest >> 1);
        let down = 1 & (rest ^ right);
        // The quarter's own curve is mirrored so that its ends meet those of its neighbours.
        if down == 0 {
            if right == 1 {
                x = (side - 1).wrapping_sub(x);
                y = (side - 1).wrapping_sub(y);
            }
            std::mem::swap(&mut x, &mut y);
        }
        x = x.wrapping_add(side.wrapping_mul(right));
        y = y.wrapping_add(side.wrapping_mul(down));
        rest >>= 2;
    }
    (x, y)
}

/// The inverse of [`place`].
#[cfg(test)]
fn index(order: u32, mut x: u32, mut y: u32) -> u32 {
    let mut index = 0;
    for level in (0..order).rev() {
        let side = 1_u32 << level;
        let right = u32::from(x & side != 0);
        let down = u32::from(y & side != 0);
        index += side * side * ((3 * right) ^ down);
        x &= side - 1;
        y &= side - 1;
        if down == 0 {
            if right == 1 {
                x = side - 1 - x;
                y = side - 1 - y;
            }
            std::mem::swap(&mut x, &mut y);
        }
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_curve_begins_and_ends_at_the_top() {
        for order in 0..=8 {
            let side = 1 << order;
            assert_eq!(place(order, 0), (0, 0));
            assert_eq!(place(order, side * side - 1), (side - 1, 0));
        }
        // The curve of order 1, then 2 of its quarters.
        let four: Vec<_> = (0..4).map(|i| place(1, i)).collect();
        assert_eq!(four, [(0, 0), (0, 1), (1, 1), (1, 0)]);
    }

    proptest! {
        #[test]
        fn it_is_a_bijection_and_neighbours_are_adjacent(order in 1_u32..=8, at in any::<u32>()) {
            let cells = 1_u32 << (2 * order);
            let at = at % cells;
            let (x, y) = place(order, at);
            prop_assert!(x < 1 << order && y < 1 << order);
            prop_assert_eq!(index(order, x, y), at);
            if at + 1 < cells {
                let (u, v) = place(order, at + 1);
                prop_assert_eq!(x.abs_diff(u) + y.abs_diff(v), 1);
            }
        }

        /// What the pictures rely on when they draw a block as one square.
        #[test]
        fn an_aligned_block_is_a_square(order in 1_u32..=6, level in 0_u32..=6, at in any::<u32>()) {
            let level = level.min(order);
            let size = 1_u32 << (2 * level);
            let first = (at % (1 << (2 * order))) & !(size - 1);
            let cells: Vec<_> = (first..first + size).map(|i| place(order, i)).collect();
            let corner = (place(order, first).0 >> level << level, place(order, first).1 >> level << level);
            for (x, y) in cells {
                prop_assert_eq!((x >> level << level, y >> level << level), corner);
            }
        }
    }
}
