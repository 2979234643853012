//! An axis: where a number lies on it, and which numbers are written at it.

/// How numbers become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Logarithmic, with powers of ten written at it. Nought has a place of its own before all others.
    Log10,
    /// Logarithmic, with powers of two.
    Log2,
    /// From nought on.
    Linear,
}

/// An axis: its title, with the unit, and its scale.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it tells: `addresses held`, `ms for one ADD`.
    pub title: String,
    /// How.
    pub scale: Scale,
}

impl Axis {
    /// With a title.
    #[must_use]
    pub fn new(title: &str, scale: Scale) -> Self {
        Self { title: title.to_owned(), scale }
    }
}

/// A number that is marked on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tick {
    /// The number.
    pub(super) at: f64,
    /// Whether it is written, too.
    pub(super) is_written: bool,
}

/// From numbers to places between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    scale: Scale,
    low: f64,
    high: f64,
    /// The part at the beginning that nought has to itself.
    pub(super) nought: f64,
}

/// What nought takes of a logarithmic axis.
const NOUGHT: f64 = 0.12;
/// The most numbers that are written at an axis.
const WRITTEN: usize = 9;
/// Bounds of logarithms: far beyond what is measured, so that loops end soon.
const EXPONENTS: std::ops::RangeInclusive<i32> = -12..=15;

impl Range {
    /// That of some numbers; `above`: room beyond the largest, as a factor of it. Nothing if there is none that has a place.
    pub(super) fn of(scale: Scale, numbers: impl Iterator<Item = f64>, above: f64) -> Option<Self> {
        let numbers: Vec<f64> = numbers.filter(|n| n.is_finite() && *n >= 0.0).collect();
        let largest = numbers.iter().copied().reduce(f64::max)?;
        if scale == Scale::Linear {
            let step = step(largest * above);
            let high = (largest * above / step).ceil().max(1.0) * step;
            return Some(Self { scale, low: 0.0, high, nought: 0.0 });
        }
        let smallest = numbers.iter().copied().filter(|n| *n > 0.0).reduce(f64::min);
        let has_nought = numbers.contains(&0.0);
        // Nought alone is shown at the beginning of some axis.
        let (smallest, largest) =
            smallest.map_or((1.0, 10.0), |smallest| (smallest, largest * above));
        let stops: &[f64] = if scale == Scale::Log2 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = || {
            EXPONENTS.flat_map(|power| stops.iter().map(move |stop| stop * base(scale).powi(power)))
        };
        let low = all().rfind(|stop| *stop <= smallest * 1.000_001).unwrap_or(smallest);
        let high =
            all().find(|stop| *stop >= largest * 0.999_999 && *stop > low).unwrap_or(low * 10.0);
        Some(Self { scale, low, high, nought: if has_nought { NOUGHT } else { 0.0 } })
    }

    /// Where a number lies, from 0 to 1; numbers outside lie at the ends.
    pub(super) fn place(&self, number: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => number / self.high,
            Scale::Log2 | Scale::Log10 if number <= 0.0 => return self.nought / 3.0,
            Scale::Log2 | Scale::Log10 => {
                let log = (number / self.low).ln() / (self.high / self.low).ln();
                self.nought + (1.0 - self.nought) * log
            }
        };
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// What is marked, from the least on.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let written = |at: f64| Tick { at, is_written: true };
        if self.scale == Scale::Linear {
            let step = step(self.high);
            let count = (self.high / step).round().clamp(1.0, 20.0) as u32;
            return (0..=count).map(|n| written(f64::from(n) * step)).collect();
        }
        let multiples: &[f64] = if self.scale == Scale::Log2 {
            &[1.0]
        } else {
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
        };
        let within = |n: f64| n >= self.low * 0.999_999 && n <= self.high * 1.000_001;
        let mut all: Vec<(f64, f64)> = Vec::new();
        for power in EXPONENTS {
            let unit = base(self.scale).powi(power);
            all.extend(multiples.iter().map(|n| (*n, n * unit)).filter(|(_, at)| within(*at)));
        }
        // As many are written as there is room for: 1, 2, 5, else powers alone, else some of these.
        let fives = |n: f64| [1.0, 2.0, 5.0].contains(&n);
        let count = |wanted: &dyn Fn(f64) -> bool| all.iter().filter(|(n, _)| wanted(*n)).count();
        let all_fives = count(&fives) <= WRITTEN;
        let every = count(&|n| n == 1.0).div_ceil(WRITTEN).max(1);
        let mut powers = 0_usize;
        let nought = (self.nought > 0.0).then(|| written(0.0));
        let others = all.iter().map(|(n, at)| {
            let is_power = *n == 1.0;
            let is_chosen = is_power && powers.is_multiple_of(every);
            powers += usize::from(is_power);
            Tick { at: *at, is_written: is_chosen || (all_fives && fives(*n)) }
        });
        nought.into_iter().chain(others).collect()
    }
}

fn base(scale: Scale) -> f64 {
    if scale == Scale::Log2 { 2.0 } else { 10.0 }
}

/// The step of a linear axis up to a number: 1, 2 or 5 of some power of ten, four to ten of them.
fn step(high: f64) -> f64 {
    if high <= 0.0 || !high.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powi(high.log10().floor().clamp(-12.0, 15.0) as i32);
    let step = [0.1, 0.2, 0.5, 1.0].into_iter().find(|step| high / (step * power) <= 7.0);
    step.unwrap_or(2.0) * power
}

/// A number as people read it: three digits that count, thousands apart.
#[must_use]
pub fn number(number: f64) -> String {
    let size = number.abs();
    let decimals = match size {
        s if s == 0.0 || s >= 99.95 => 0,
        s if s >= 9.995 => 1,
        s if s >= 0.0995 => 2,
        s if s >= 0.00995 => 3,
        _ => 4,
    };
    let text = format!("{number:.decimals$}");
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let part = part.trim_end_matches('0');
    if part.is_empty() { grouped } else { format!("{grouped}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(scale: Scale, numbers: &[f64]) -> Option<Range> {
        Range::of(scale, numbers.iter().copied(), 1.0)
    }

    fn written(scale: Scale, numbers: &[f64]) -> Vec<f64> {
        let ticks = range(scale, numbers).expect("a range").ticks();
        ticks.into_iter().filter(|tick| tick.is_written).map(|tick| tick.at).collect()
    }

    fn is_near(one: &[f64], other: &[f64]) -> bool {
        one.len() == other.len()
            && one.iter().zip(other).all(|(a, b)| (a - b).abs() <= b.abs() * 1e-9)
    }

    #[test]
    fn decent_numbers_are_written() {
        for (scale, numbers, wanted) in [
            (
                Scale::Log10,
                &[1.0, 346.0][..],
                &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0][..],
            ),
            (
                Scale::Log10,
                &[0.0, 250.0, 60_000.0],
                &[0.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5],
            ),
            (Scale::Log10, &[0.3, 5_000.0], &[1.0, 10.0, 100.0, 1e3]),
            (Scale::Log10, &[1e-9, 1e9], &[1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e9]),
            (Scale::Log10, &[3.0], &[2.0, 5.0]),
            (Scale::Log10, &[0.0], &[0.0, 1.0, 2.0, 5.0, 10.0]),
            (Scale::Log2, &[1.0, 32.0], &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]),
            (Scale::Log2, &[1.0], &[1.0, 2.0]),
            (Scale::Linear, &[3.0, 6.6], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
            (Scale::Linear, &[80.0], &[0.0, 20.0, 40.0, 60.0, 80.0]),
            (Scale::Linear, &[0.0], &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ] {
            let is = written(scale, numbers);
            assert!(is_near(&is, wanted), "{scale:?} {numbers:?}: {is:?}");
        }
        for nothing in [&[][..], &[f64::NAN], &[-1.0]] {
            assert_eq!(range(Scale::Log10, nothing), None);
        }
    }

    #[test]
    fn numbers_lie_in_order_within() {
        for scale in [Scale::Log10, Scale::Log2, Scale::Linear] {
            let numbers = [0.0, 0.5, 1.0, 3.0, 10.0, 99.0, 12_345.0];
            let range = range(scale, &numbers).expect("a range");
            let places = numbers.map(|n| range.place(n));
            assert!(places.windows(2).all(|two| two[0] < two[1]), "{scale:?} {places:?}");
            assert!(places.iter().all(|place| (0.0..=1.0).contains(place)), "{scale:?} {places:?}");
        }
        let whole = range(Scale::Log10, &[1.0, 100.0]).expect("a range");
        for (number, place) in [(1.0, 0.0), (10.0, 0.5), (100.0, 1.0), (0.001, 0.0), (1e6, 1.0)] {
            assert!((whole.place(number) - place).abs() < 1e-9, "{number}");
        }
    }

    #[test]
    fn numbers_are_readable() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (1.234, "1.23"),
            (0.5, "0.5"),
            (0.0412, "0.041"),
            (0.004, "0.004"),
            (0.000_12, "0.0001"),
            (12.34, "12.3"),
            (999.6, "1,000"),
            (123_456.7, "123,457"),
            (-1234.0, "-1,234"),
            (100.0, "100"),
            (1e15, "1,000,000,000,000,000"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
