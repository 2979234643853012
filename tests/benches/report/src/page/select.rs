//! Finding figures among many.

use crate::chart::Series;
use crate::figures::{Figure, Run};

/// Some figures, in the order of measuring.
#[derive(Clone, Debug, Default)]
pub(super) struct Set<'a>(Vec<&'a Figure>);

impl<'a> Set<'a> {
    /// Those of a run, if there is one.
    pub(super) fn of_run(run: Option<&'a Run>) -> Self {
        Self(run.map(|run| run.figures.iter().collect()).unwrap_or_default())
    }

    fn only(&self, wanted: impl Fn(&Figure) -> bool) -> Self {
        Self(self.0.iter().copied().filter(|figure| wanted(figure)).collect())
    }

    pub(super) fn group(&self, group: &str) -> Self {
        self.only(|figure| figure.group == group)
    }

    pub(super) fn what(&self, what: &str) -> Self {
        self.only(|figure| figure.what == what)
    }

    pub(super) fn of(&self, of: &str) -> Self {
        self.only(|figure| figure.of == of)
    }

    pub(super) fn on(&self, place: &str) -> Self {
        self.only(|figure| figure.place == place)
    }

    pub(super) fn at(&self, what: &str, number: f64) -> Self {
        self.only(|figure| figure.at.get(what) == Some(&number))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Figure> {
        self.0.iter().copied()
    }

    pub(super) fn first(&self) -> Option<&'a Figure> {
        self.0.first().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn distinct<T: PartialEq>(&self, value: impl Fn(&'a Figure) -> Option<T>) -> Vec<T> {
        let mut all = Vec::new();
        for value in self.iter().filter_map(value) {
            if !all.contains(&value) {
                all.push(value);
            }
        }
        all
    }

    /// Whose figures there are, in the order of measuring.
    pub(super) fn names(&self) -> Vec<&'a str> {
        self.distinct(|figure| Some(figure.of.as_str()))
    }

    /// What is measured.
    pub(super) fn whats(&self) -> Vec<&'a str> {
        self.distinct(|figure| Some(figure.what.as_str()))
    }

    /// Where.
    pub(super) fn places(&self) -> Vec<&'a str> {
        self.distinct(|figure| Some(figure.place.as_str()))
    }

    /// Under which circumstances of a kind, from the least on.
    pub(super) fn numbers(&self, what: &str) -> Vec<f64> {
        let mut numbers = self.distinct(|figure| figure.at.get(what).copied());
        numbers.sort_by(f64::total_cmp);
        numbers
    }

    /// Whom others are compared with.
    pub(super) fn reference(&self) -> Option<&'a str> {
        self.iter().find_map(|figure| figure.against.as_ref()).map(|it| it.of.as_str())
    }

    /// Those of ours, in the order of measuring.
    pub(super) fn ours(&self) -> Vec<&'a str> {
        let compared = self.only(|figure| figure.against.is_some());
        if compared.is_empty() { self.names() } else { compared.names() }
    }

    /// The ratio of one.
    pub(super) fn ratio(&self) -> Option<f64> {
        self.first().and_then(Figure::ratio)
    }

    /// Lines over a circumstance.
    pub(super) fn series(&self, x: &str) -> Vec<Series> {
        let reference = self.reference();
        let lines = self.names().into_iter().map(|name| {
            let own = self.of(name);
            let mut points: Vec<(f64, f64)> =
                own.iter().filter_map(|it| Some((*it.at.get(x)?, it.value))).collect();
            points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
            Series { name: name.to_owned(), points, is_reference: Some(name) == reference }
        });
        lines.filter(|series| !series.points.is_empty()).collect()
    }
}
