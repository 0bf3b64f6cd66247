//! Where the new connection's first SYN, or its answer, was while the client waited long for it.

use crate::event::Vantage;
use crate::finding::Case;
use crate::session::reconnect::{Reconnect, is_unheard};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// It did not come to the gateway's outside interface.
    OnWayThere,
    /// It came there and was not answered.
    AtGateway,
    /// It was answered there, and the answer did not come to the client.
    OnWayBack,
}

impl Waiting {
    /// Where both ends were captured, or the gateway's alone shows that its answer did not come to the client.
    pub fn of(case: &Case<'_>, seam: &Reconnect) -> Option<Waiting> {
        /// Clocks and ways differ by less, seconds.
        const AT_ONCE: f64 = 1.0;
        let new = case.session.connections.get(seam.new)?;
        let view = |vantage| new.views.iter().find(|view| case.vantage(view.point) == Some(vantage));
        let outside = view(Vantage::Outside)?;
        let is_answered = outside.syn_wait().is_some_and(|seconds| seconds < AT_ONCE);
        let Some(client) = view(Vantage::Client) else {
            return (is_answered && is_unheard(outside)).then_some(Waiting::OnWayBack);
        };
        seam.syn_wait?;
        let (sent, came) = (client.opened.syn()?.at, outside.opened.syn()?.at);
        let waiting = match came.seconds_since(sent) < AT_ONCE {
            false => Waiting::OnWayThere,
            true if is_answered => Waiting::OnWayBack,
            true => Waiting::AtGateway,
        };
        case.point(outside.point)?.was_capturing(sent, came).then_some(waiting)
    }

    /// A sentence, with the space before it.
    pub fn words(self) -> &'static str {
        match self {
            Waiting::AtGateway => " The first had come to the gateway's outside interface at once.",
            Waiting::OnWayBack => {
                " The gateway had answered the new one's SYN at once at its outside interface: lost on the way to the client."
            }
            Waiting::OnWayThere => {
                " Those sent until then never came to the gateway's outside interface: lost between the two."
            }
        }
    }
}
