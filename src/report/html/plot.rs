//! What the charts have in common: a scale from seconds to pixels, its ticks, and the frame of an SVG.

use super::escape::Esc;
use std::fmt::Write as _;

/// Width of a chart in its own units; the page scales it.
pub const WIDTH: f64 = 960.0;
/// Where the plot begins: left of it stand the names.
pub const LEFT: f64 = 210.0;
/// And where it ends.
pub const RIGHT: f64 = 948.0;
/// Marks drawn in one chart, those on a mark included; more are counted below it.
pub const MAX_MARKS: usize = 500;
/// Ticks wanted on an axis.
const TICKS: f64 = 8.0;

/// Seconds to pixels.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    from: f64,
    until: f64,
}

impl Scale {
    /// From the earliest to the latest moment, with a little room; never empty.
    pub fn over(moments: impl Iterator<Item = f64>) -> Scale {
        let (mut from, mut until) = (0.0_f64, 0.0_f64);
        for at in moments.filter(|at| at.is_finite()) {
            from = from.min(at);
            until = until.max(at);
        }
        let room = ((until - from) * 0.02).max(0.0005);
        Scale { from: from - room, until: until + room }
    }

    /// The pixel of a moment.
    pub fn x(self, at: f64) -> f64 {
        let share = (at - self.from) / (self.until - self.from);
        LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    /// `data-from` and the rest: what the page's script needs to zoom.
    pub fn attributes(self) -> String {
        format!(
            r#"data-from="{:.6}" data-until="{:.6}" data-left="{LEFT}" data-right="{RIGHT}""#,
            self.from, self.until
        )
    }

    /// The time axis, with lines up to `top`.
    pub fn axis(self, top: f64, bottom: f64) -> String {
        let mut svg = format!(r#"<g class="axis" data-top="{top}" data-bottom="{bottom}">"#);
        let step = step(self.until - self.from);
        let mut at = (self.from / step).ceil() * step;
        while at <= self.until {
            let x = self.x(at);
            let _ = write!(
                svg,
                r#"<line x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 16.0,
                tick(at, step)
            );
            at += step;
        }
        svg.push_str("</g>");
        svg
    }
}

/// 1, 2 or 5 times a power of ten, so that about [`TICKS`] of them fill the span.
fn step(span: f64) -> f64 {
    let rough = (span / TICKS).max(1e-6);
    let power = 10_f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= rough).unwrap_or(10.0);
    times * power
}

/// A moment at the precision of its step.
fn tick(at: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    // No tick says minus zero.
    let at = if at.abs() < step / 1e3 { 0.0 } else { at };
    format!("{at:.digits$} s")
}

/// Opens an SVG that a screen reader takes for one image with a name and a description.
pub fn open(id: &str, height: f64, name: &str, description: &str, scale: &str) -> String {
    format!(
        r#"<svg class="plot" id="{id}" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="{id}-t {id}-d" {scale}><title id="{id}-t">{}</title><desc id="{id}-d">{}</desc>"#,
        Esc(name),
        Esc(description)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!((step(76.0), step(0.004), step(1e6)), (10.0, 0.0005, 200_000.0));
        assert_eq!(
            (tick(20.0, 10.0), tick(-0.0, 10.0), tick(0.0015, 0.0005)),
            ("20 s".into(), "0 s".into(), "0.0015 s".into())
        );
    }

    proptest! {
        #[test]
        fn every_moment_has_a_place_and_an_axis_is_short(moments in prop::collection::vec(prop::num::f64::ANY, 0..8)) {
            let scale = Scale::over(moments.iter().copied().filter(|at| at.abs() < 1e18));
            for at in moments.into_iter().filter(|at| at.abs() < 1e18) {
                prop_assert!((LEFT..=RIGHT).contains(&scale.x(at)));
            }
            prop_assert!(scale.axis(0.0, 1.0).matches("<text").count() <= 2 * TICKS as usize + 2);
        }
    }
}
