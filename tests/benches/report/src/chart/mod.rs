/*!
Charts as SVG 1.1 texts that need nothing but themselves: no script, no font, no other file. [`Lines`] shows what changes with
a number, [`Bars`] compares amounts.

They are drawn here and not by a plotting library because a page is read on light and on dark ground: the colours are a
style sheet in the picture, which asks the reader's browser. Series differ in shape, too, not in colour alone.
*/

mod axis;
mod bars;
mod lines;
mod svg;

pub use axis::{Axis, Scale, number};
pub use bars::{Bar, Bars};
pub use lines::{Lines, Series};
