//! What channels state, in a booking: each payment is looked at again whenever a line of it comes
//! or its order changes (REC-16, ADR-0021).

use clearing::{AutoStop, AutoTopUp, BookedOrder, ChannelPayment, Stated, StatedLine};
use model::{CardId, ChannelId, Currency, Money, OrderId, Timestamp};

use super::{Desk, StepError};
use crate::intake::stored::{OrderEvent, Stored};

impl<S: Stored> Desk<'_, S> {
    /// A statement, a line of one, or a delay that is over.
    pub(super) fn channel_event(&mut self, event: &OrderEvent) -> Result<(), StepError<S::Error>> {
        match event {
            OrderEvent::Stated { channel, reference, .. } => {
                let Some(line) = line_of(event) else {
                    tracing::warn!(?event, "a line of a statement is in no known currency");
                    return Ok(());
                };
                self.restate(ChannelId(*channel), reference, event, |stated| {
                    let known = stated.lines.iter().any(|known| known.is_same(&line));
                    stated.lines.extend((!known).then_some(line));
                })
            }
            OrderEvent::RefundAsked { channel, reference } => {
                let asked = |stated: &mut Stated| stated.refund = true;
                self.restate(ChannelId(*channel), reference, event, asked)
            }
            OrderEvent::Unstated { channel, reference } => {
                let over = |stated: &mut Stated| stated.overdue = true;
                self.restate(ChannelId(*channel), reference, event, over)
            }
            OrderEvent::AutoSet { card, below, amount, channel, per_day_max } => {
                let auto = AutoTopUp {
                    card: CardId(*card),
                    below: *below,
                    amount: *amount,
                    channel: ChannelId(*channel),
                    per_day_max: *per_day_max,
                    stopped: None,
                };
                self.auto_becomes(event, auto.card, |_| Some(auto))
            }
            OrderEvent::AutoStopped { card, why } => {
                let stopped = AutoStop::from_word(why);
                let stop = |auto: Option<AutoTopUp>| Some(AutoTopUp { stopped, ..auto? });
                self.auto_becomes(event, CardId(*card), stop)
            }
            OrderEvent::Batch { .. } | OrderEvent::Statement { .. } => {
                self.booking.order_events.push(event.clone());
                Ok(())
            }
            OrderEvent::Paid { .. }
            | OrderEvent::Offered { .. }
            | OrderEvent::Withdrawn { .. }
            | OrderEvent::Renewed { .. }
            | OrderEvent::Credit { .. }
            | OrderEvent::Overdue { .. }
            | OrderEvent::GivenBack { .. } => Ok(()),
        }
    }

    fn auto_becomes(
        &mut self,
        event: &OrderEvent,
        card: CardId,
        change: impl FnOnce(Option<AutoTopUp>) -> Option<AutoTopUp>,
    ) -> Result<(), StepError<S::Error>> {
        let before = match self.booking.autos.get(&card) {
            Some(auto) => Some(*auto),
            None => self.stored.auto(card).map_err(StepError::Stored)?,
        };
        let Some(after) = change(before) else {
            tracing::warn!("a card without a standing instruction has none to stop");
            return Ok(());
        };
        let (currency, now) = (self.rules.currency(), self.booking.at);
        let items = after.items_since(before.as_ref(), currency, now);
        self.booking.exceptions.extend(items);
        self.booking.autos.insert(card, after);
        self.booking.order_events.push(event.clone());
        Ok(())
    }

    /// An order was paid or given back: its payment stands otherwise.
    pub(super) fn payment_of(
        &mut self,
        event: &OrderEvent,
        before: Option<BookedOrder>,
        order: &BookedOrder,
    ) -> Result<(), StepError<S::Error>> {
        let reference = match event {
            OrderEvent::Paid { reference, .. } => Some(reference.clone()),
            OrderEvent::GivenBack { .. } => self.reference_of(order.id)?,
            OrderEvent::Offered { .. }
            | OrderEvent::Withdrawn { .. }
            | OrderEvent::Renewed { .. }
            | OrderEvent::Credit { .. }
            | OrderEvent::Overdue { .. }
            | OrderEvent::AutoSet { .. }
            | OrderEvent::AutoStopped { .. }
            | OrderEvent::Batch { .. }
            | OrderEvent::Statement { .. }
            | OrderEvent::Stated { .. }
            | OrderEvent::RefundAsked { .. }
            | OrderEvent::Unstated { .. } => None,
        };
        let is_ours = order.is_adjustment() || order.account.is_some();
        let Some(reference) = reference.filter(|_| !is_ours) else {
            return Ok(());
        };
        let known = self.stated(order.channel, &reference)?;
        let after = Stated { order: Some(order.id), ..known.clone() };
        let orders = (before.as_ref(), Some(order));
        self.payment_becomes((order.channel, &reference), (&known, &after), orders)
    }

    fn restate(
        &mut self,
        channel: ChannelId,
        reference: &str,
        event: &OrderEvent,
        change: impl FnOnce(&mut Stated),
    ) -> Result<(), StepError<S::Error>> {
        let known = self.stated(channel, reference)?;
        let mut after = known.clone();
        change(&mut after);
        let order = known.order.map(|id| self.order(id.0)).transpose()?.flatten();
        let orders = (order.as_ref(), order.as_ref());
        self.payment_becomes((channel, reference), (&known, &after), orders)?;
        self.booking.order_events.push(event.clone());
        Ok(())
    }

    fn payment_becomes(
        &mut self,
        (channel, reference): (ChannelId, &str),
        (known, after): (&Stated, &Stated),
        (before, order): (Option<&BookedOrder>, Option<&BookedOrder>),
    ) -> Result<(), StepError<S::Error>> {
        let from = ChannelPayment { channel, reference, stated: known, order: before };
        let to = ChannelPayment { channel, reference, stated: after, order };
        let restated = from.becomes(&to, self.rules.currency(), self.booking.at);
        self.post(order.map(|order| order.card), None, &restated.transfers)?;
        self.booking.exceptions.extend(restated.exceptions);
        self.booking.stated.insert((channel, reference.to_owned()), restated.stated);
        Ok(())
    }

    fn stated(&self, channel: ChannelId, reference: &str) -> Result<Stated, StepError<S::Error>> {
        if let Some(stated) = self.booking.stated.get(&(channel, reference.to_owned())) {
            return Ok(stated.clone());
        }
        let stated = self.stored.stated(channel, reference).map_err(StepError::Stored)?;
        Ok(stated.unwrap_or_default())
    }

    fn reference_of(&self, id: OrderId) -> Result<Option<String>, StepError<S::Error>> {
        let here = self.booking.stated.iter().find(|(_, stated)| stated.order == Some(id));
        if let Some(((_, reference), _)) = here {
            return Ok(Some(reference.clone()));
        }
        self.stored.reference_of(id).map_err(StepError::Stored)
    }
}

/// A line as the journal has it.
fn line_of(event: &OrderEvent) -> Option<StatedLine> {
    let OrderEvent::Stated { amount, currency, card, paid_at, copy, statement, row, .. } = event
    else {
        return None;
    };
    Some(StatedLine {
        amount: Money::new(*amount, Currency::from_numeric(*currency).ok()?),
        card: card.map(CardId),
        paid_at: paid_at.map(Timestamp),
        copy: *copy,
        statement: *statement,
        row: *row,
    })
}
