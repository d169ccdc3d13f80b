# What riders read, in English. Names of stops, routes and products come from the tariff as they are.
#
# DURATION and SPAN turn seconds into words by the messages at the end of this file: a duration is
# exact to the second, a span is rounded down to its largest unit.

## Steps of an explained charge; .label is its short name in a table

missing-tap-out = No tap-out after the tap-in at { $from }: maximum fare
    .label = Missing tap-out
journey-opened = Tapped in at { $from }: paid at tap-out, at most { $maximum }
    .label = Journey opened
flat = { $route }: { $product }
    .label = Flat fare
origin-destination = { $from } to { $to }
    .label = Fare by stations
same-station = Out again at { $place } after { DURATION($after) }
    .label = Same station
over-time = { DURATION($after) } since the tap-in at { $from }, { DURATION($limit) } allowed: maximum fare
    .label = Time limit exceeded
unknown-fare = No fare is known from { $from } to { $to }: maximum fare
    .label = Unknown fare
transfer = Transfer after { DURATION($after) } of { DURATION($limit) }
    .label = Transfer
transfer-too-late = No transfer: { DURATION($after) } after, { DURATION($limit) } allowed
    .label = Transfer too late
transfer-rides-used =
    { $legs ->
        [one] No transfer: the one ride is used
       *[other] No transfer: all { $legs } rides are used
    }
    .label = Transfer rides used
adjusted = { $name }
    .label = Discount or surcharge
companions = { $riders } × { $class }, { $each } each
    .label = Companions
capped = { $name } of { $limit } is reached
    .label = Cap
interchange = The journey from { $from } goes on
    .label = Interchange
paid-before = Paid before the change
    .label = Paid before
leg = { $from } to { $to }: { $product }
    .label = Leg
leg-transfer = Transfer
    .label = Transfer between legs
no-refund = Given back by the depot
    .label = Given back later
no-fare-known = No fare is known from { $from } to { $to }
    .label = No fare known

pass-pays = Paid by your pass (product { $product })
    .label = Pass
ride-pays = Paid by one of your rides (product { $product }), { $left } left
    .label = Ride
product-covers = Product { $product } pays this journey
    .label = Product pays
product-ended = Product { $product } ended { SPAN($ago) } ago
    .label = Product ended
product-not-yet-valid = Product { $product } is valid only in { SPAN($in) }
    .label = Product not valid yet
product-not-here = Product { $product } is not valid for this ride
    .label = Product not valid here
product-used-up = No ride is left of product { $product }
    .label = No ride left
product-unknown = The product in place { $slot } is not known here
    .label = Unknown product

## How far a card has come towards a fare cap; .past of a day that has gone

cap-day = { $name }: { $counted } of { $limit } today
    .past = { $name }: { $counted } of { $limit } that day
cap-week = { $name }: { $counted } of { $limit } this week
    .past = { $name }: { $counted } of { $limit } that week
cap-month = { $name }: { $counted } of { $limit } this month
    .past = { $name }: { $counted } of { $limit } that month
cap-rolling =
    { $days ->
        [one] { $name }: { $counted } of { $limit } in one day
       *[other] { $name }: { $counted } of { $limit } in { $days } days
    }
    .past =
    { $days ->
        [one] { $name }: { $counted } of { $limit } in one day
       *[other] { $name }: { $counted } of { $limit } in { $days } days
    }

## Why a tap is refused, then after a colon what to do: displays show the two apart

refusal-several-cards = More than one card: hold one card only
refusal-unreadable = Hold it until it beeps
refusal-too-slow = The card answered too late: hold the card itself to the reader
refusal-foreign-card = Not accepted here: see staff
refusal-hotlisted = This card is blocked: see staff
refusal-card-expired = This card has expired: get a new one
refusal-card-data-invalid = The card cannot be used: see staff
refusal-not-valid-here = Not valid here or now: see staff
refusal-ticket-not-valid = This ticket is not valid here or now: see staff
refusal-double-entry = Already tapped in here
refusal-ticket-used = This ticket has been used: see staff
refusal-no-entry = No journey to end: tap in first
refusal-currency-not-taken = The card's currency is not taken here: see staff
refusal-insufficient-value = Not enough credit: top up
refusal-out-of-service = Out of service: use another reader

## What else a rider should know after an accepted tap

note-earlier-tap-finished = Your tap before is finished, not charged again
note-missing-tap-out = Your last journey had no tap-out and was charged
note-transfer = Transfer
note-product-ended = Your pass is no longer valid
note-product-not-yet-valid = Your pass is not valid yet
note-product-not-here = Your pass or rides are not valid for this ride
note-rides-used-up = You have no ride left
note-last-ride = This was your last ride
note-product-unknown = A product on your card is not known here
note-low-balance = Your balance is low: top up soon

## The validator's screen

screen-accepted = accepted, charge { $charge }
screen-accepted-riders = accepted, charge { $charge } for { $riders } riders
screen-companions = the next card also pays for
screen-no-companions = the next card pays for its holder alone
screen-missing = { $amount } missing
screen-code = code { $code }
screen-balance = balance { $balance }
screen-loaded = topped up { $amount }
screen-pass-loaded = your pass is on the card (product { $product })
screen-rides-loaded =
    { $rides ->
        [one] { $rides } ride is on the card (product { $product })
       *[other] { $rides } rides are on the card (product { $product })
    }
screen-out-of-service = out of service: { $reason }
screen-in-service = in service: hold your card here

## The rider's display and the attendant's view: single words and short lines

rider-boarded = Boarded
rider-tapped-in = Tapped in
rider-tapped-out = Tapped out
rider-fare = Fare
rider-no-charge = No charge
rider-balance = Balance
rider-missing = Missing
rider-riders = Riders
rider-code = Code
rider-total = Total
rider-loaded = Topped up
rider-board = Board here
rider-entry = Tap in
rider-exit = Tap out
rider-hold-card = Hold your card here
rider-companions = The next card also pays for
rider-pass = Paid by your product
rider-concession = Reduced fare
attendant-in-service = In service
attendant-passengers = Passengers
attendant-last = Last tap
attendant-none = No tap yet
attendant-keys = r  count passengers anew   q  quit

## What a card is owed

due-priced = Charged { $charged }; the fare is { $fare } now that all taps are known
due-repaired = No tap-out after the tap-in at { $from }: { $ended } of { $of } journeys from there in { $days } days ended at { $to }, so this one is priced as if it had too
due-not-passed = The gate shut before the rider had passed
due-open = { $amount } goes onto the card with its next top-up
due-held = { $amount } is on its way onto the card
due-paid = { $amount } was put on the card
due-forgiven = { $amount } more than owed was put on the card: nobody asks for it back

## A charge in the currency of the card

exchange =
    { $charge } at { $rate } for { $one } (rate of { $date }), { $rounding ->
        [up] rounded up
        [down] rounded down
        [half-up] rounded to the nearest, a half up
       *[half-even] rounded to the nearest, a half to even
    }: { $debit }
    .unit =
    { $charge } at { $rate } for { $one } (rate of { $date }), { $rounding ->
        [up] rounded up to whole { $unit }
        [down] rounded down to whole { $unit }
        [half-up] rounded to the nearest { $unit }, a half up
       *[half-even] rounded to the nearest { $unit }, a half to even
    }: { $debit }
date =
    { $month ->
        [1] { $day } January { $year }
        [2] { $day } February { $year }
        [3] { $day } March { $year }
        [4] { $day } April { $year }
        [5] { $day } May { $year }
        [6] { $day } June { $year }
        [7] { $day } July { $year }
        [8] { $day } August { $year }
        [9] { $day } September { $year }
        [10] { $day } October { $year }
        [11] { $day } November { $year }
       *[12] { $day } December { $year }
    }

## Durations

duration-seconds = { $seconds } s
duration-minutes = { $minutes } min
duration-minutes-seconds = { $minutes } min { $seconds } s

span-seconds =
    { $count ->
        [one] { $count } second
       *[other] { $count } seconds
    }
span-minutes =
    { $count ->
        [one] { $count } minute
       *[other] { $count } minutes
    }
span-hours =
    { $count ->
        [one] { $count } hour
       *[other] { $count } hours
    }
span-days =
    { $count ->
        [one] { $count } day
       *[other] { $count } days
    }
