# What riders read, in Korean; what each message is for stands in en.ftl.
#
# A name is never followed by a particle that depends on its last sound (을/를, 이/가, 은/는, 으로/로):
# use 에서, 부터, 까지, a colon or an arrow.

## Steps of an explained charge

missing-tap-out = { $from } 승차 후 하차 태그 없음: 최대 요금 부과
    .label = 하차 미태그
journey-opened = { $from }에서 승차: 하차할 때 결제, 최대 { $maximum }
    .label = 승차
flat = { $route }: { $product }
    .label = 기본요금
origin-destination = { $from } → { $to }
    .label = 구간 요금
same-station = { $place }에서 { DURATION($after) } 만에 다시 하차
    .label = 같은 역 하차
over-time = { $from } 승차 후 { DURATION($after) } 경과, 제한 { DURATION($limit) }: 최대 요금 부과
    .label = 이용 시간 초과
unknown-fare = { $from } → { $to } 구간의 요금 정보 없음: 최대 요금 부과
    .label = 요금 미등록 구간
transfer = 환승: 첫 승차 후 { DURATION($after) }, 제한 { DURATION($limit) }
    .label = 환승
transfer-too-late = 환승 불가: 첫 승차 후 { DURATION($after) } 경과, 제한 { DURATION($limit) }
    .label = 환승 시간 초과
transfer-rides-used = 환승 불가: 승차 { $legs }회를 모두 사용
    .label = 환승 횟수 초과
adjusted = { $name }
    .label = 할인·할증
companions = 동반 { $class } { $riders }명, 1인당 { $each }
    .label = 동반 승객
capped = { $name }: 상한 { $limit } 도달
    .label = 상한
interchange = { $from }에서 시작한 여정 계속
    .label = 역 밖 환승
paid-before = 갈아타기 전에 낸 요금
    .label = 이미 낸 요금
leg = { $from } → { $to }: { $product }
    .label = 구간
leg-transfer = 환승
    .label = 구간 사이 환승
no-refund = 차액은 나중에 환급
    .label = 추후 환급
no-fare-known = { $from } → { $to } 구간의 요금 정보 없음
    .label = 요금 정보 없음

pass-pays = 정기권 사용 (상품 { $product })
    .label = 정기권
ride-pays = 회수권 1회 사용 (상품 { $product }), { $left }회 남음
    .label = 회수권
product-covers = 이번 여정은 상품 { $product } 사용
    .label = 상품 사용
product-ended = 상품 { $product }: { SPAN($ago) } 전에 만료
    .label = 상품 만료
product-not-yet-valid = 상품 { $product }: { SPAN($in) } 후부터 사용 가능
    .label = 사용 시작 전 상품
product-not-here = 상품 { $product }: 이번 승차에는 사용 불가
    .label = 사용 불가 상품
product-used-up = 상품 { $product }: 남은 횟수 없음
    .label = 횟수 소진
product-unknown = 카드 { $slot }번 자리의 상품을 확인할 수 없음
    .label = 확인할 수 없는 상품

## How far a card has come towards a fare cap; .past of a day that has gone

cap-day = { $name }: 오늘 { $limit } 중 { $counted }
    .past = { $name }: 그날 { $limit } 중 { $counted }
cap-week = { $name }: 이번 주 { $limit } 중 { $counted }
    .past = { $name }: 그 주 { $limit } 중 { $counted }
cap-month = { $name }: 이번 달 { $limit } 중 { $counted }
    .past = { $name }: 그달 { $limit } 중 { $counted }
cap-rolling = { $name }: { $days }일간 { $limit } 중 { $counted }
    .past = { $name }: { $days }일간 { $limit } 중 { $counted }

## Why a tap is refused, then after a colon what to do: displays show the two apart

refusal-several-cards = 카드가 여러 장입니다: 한 장만 대 주세요
refusal-unreadable = 소리가 날 때까지 카드를 대 주세요
refusal-too-slow = 카드 응답이 늦었습니다: 카드를 단말기에 직접 대 주세요
refusal-foreign-card = 여기서 사용할 수 없는 카드입니다: 직원에게 문의하세요
refusal-hotlisted = 사용이 정지된 카드입니다: 직원에게 문의하세요
refusal-card-expired = 유효기간이 지난 카드입니다: 새 카드로 바꿔 주세요
refusal-card-data-invalid = 카드를 사용할 수 없습니다: 직원에게 문의하세요
refusal-not-valid-here = 지금 이곳에서는 사용할 수 없습니다: 직원에게 문의하세요
refusal-ticket-not-valid = 지금 이곳에서는 사용할 수 없는 승차권입니다: 직원에게 문의하세요
refusal-double-entry = 이곳에서 이미 승차 태그를 하셨습니다
refusal-ticket-used = 이미 사용한 승차권입니다: 직원에게 문의하세요
refusal-no-entry = 승차 기록이 없습니다: 먼저 승차 태그를 해 주세요
refusal-currency-not-taken = 여기서는 이 카드의 통화로 결제할 수 없습니다: 직원에게 문의하세요
refusal-insufficient-value = 잔액이 부족합니다: 충전해 주세요
refusal-out-of-service = 사용할 수 없는 단말기입니다: 다른 단말기를 이용하세요

## What else a rider should know after an accepted tap

note-earlier-tap-finished = 이전 태그가 완료되었습니다. 요금은 다시 부과되지 않습니다
note-missing-tap-out = 지난 여정에 하차 태그가 없어 요금이 부과되었습니다
note-transfer = 환승입니다
note-product-ended = 정기권 유효기간이 지났습니다
note-product-not-yet-valid = 정기권 사용 기간이 아직 시작되지 않았습니다
note-product-not-here = 이번 승차에는 정기권이나 회수권을 사용할 수 없습니다
note-rides-used-up = 회수권을 모두 사용했습니다
note-last-ride = 회수권의 마지막 1회를 사용했습니다
note-product-unknown = 카드에 확인할 수 없는 상품이 있습니다
note-low-balance = 잔액이 얼마 남지 않았습니다: 곧 충전해 주세요

## The validator's screen

screen-accepted = 승인, 요금 { $charge }
screen-accepted-riders = 승인, { $riders }명 요금 { $charge }
screen-companions = 다음 카드로 함께 결제
screen-no-companions = 다음 카드는 본인 요금만 결제
screen-missing = 부족 금액 { $amount }
screen-code = 코드 { $code }
screen-balance = 잔액 { $balance }
screen-loaded = 충전 { $amount }
screen-pass-loaded = 정기권 저장 완료 (상품 { $product })
screen-rides-loaded = 회수권 { $rides }회 저장 완료 (상품 { $product })
screen-out-of-service = 사용 중지: { $reason }
screen-in-service = 사용 가능: 카드를 대 주세요

## The rider's display and the attendant's view: single words and short lines

rider-boarded = 승차입니다
rider-tapped-in = 승차입니다
rider-tapped-out = 하차입니다
rider-fare = 요금
rider-no-charge = 추가 요금 없음
rider-balance = 잔액
rider-missing = 부족 금액
rider-riders = 인원
rider-code = 코드
rider-total = 합계
rider-loaded = 충전
rider-board = 승차
rider-entry = 승차
rider-exit = 하차
rider-hold-card = 카드를 대 주세요
rider-companions = 다음 카드로 함께 결제
rider-pass = 보유하신 상품으로 결제됩니다
rider-concession = 할인 요금입니다
attendant-in-service = 사용 가능
attendant-passengers = 승객 수
attendant-last = 마지막 태그
attendant-none = 아직 태그 없음
attendant-keys = r  승객 수 새로 세기   q  끝내기

## What a card is owed

due-priced = { $charged } 부과됨: 모든 태그를 확인한 요금은 { $fare }입니다
due-repaired = { $from } 승차 후 하차 태그 없음: { $days }일 동안 이 역에서 시작한 여정 { $of }회 중 { $ended }회가 { $to }에서 끝나, 이번에도 그곳에서 내린 것으로 계산했습니다
due-not-passed = 통과하기 전에 개찰구가 닫혔습니다
due-open = { $amount } 환급 예정: 다음 충전 때 카드에 들어갑니다
due-held = { $amount } 카드에 넣는 중입니다
due-paid = { $amount } 카드에 환급되었습니다
due-forgiven = { $amount } 더 환급되었으며 돌려받지 않습니다

## A charge in the currency of the card

exchange =
    { $charge }, 환율 { $one } = { $rate } ({ $date } 기준), { $rounding ->
        [up] 올림
        [down] 버림
        [half-up] 반올림
       *[half-even] 반올림(절반은 짝수로)
    }: { $debit }
    .unit =
    { $charge }, 환율 { $one } = { $rate } ({ $date } 기준), { $unit } 단위 { $rounding ->
        [up] 올림
        [down] 버림
        [half-up] 반올림
       *[half-even] 반올림(절반은 짝수로)
    }: { $debit }
date = { $year }년 { $month }월 { $day }일

## Durations

duration-seconds = { $seconds }초
duration-minutes = { $minutes }분
duration-minutes-seconds = { $minutes }분 { $seconds }초

span-seconds = { $count }초
span-minutes = { $count }분
span-hours = { $count }시간
span-days = { $count }일
