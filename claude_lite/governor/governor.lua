-- One step of one process on the shared state: learn from its answers, then book for those who wait.
--
-- The same as booking.py and `Shared.step` of shared.py, function by function; the reasons stand
-- there. tests/governor/test_parity.py compares the two.
--
-- KEYS: the state (MessagePack); the processes that asked lately (a sorted set, by time).
-- ARGV[1]: JSON {name, ahead, sleeping, back, known, answers, wants}; `now` only in tests.
--   want: {tokens_in, max_tokens, part}
--   answer: {start, cost, clocks, drifts, epoch, open, status, limit, remaining, retry_after, used}
--   known: {limits, sizes, output_mean}
-- Reply: now, processes, limits, sizes, output_mean, shares, then a text per booking:
--   "wait" or "wait;start;output;clocks;drifts;epoch"; where no limit is known "wait;start;output".

local ROUNDED, MINUTE, NEVER = {0, 999, 999}, 60, -1e9
local MARGIN, MOST_MARGIN, SMALLEST = 0.5, 2, 0.25
local LOWER, LEAST_SHARE, RETURN, FAST_RETURN = 0.1, 0.05, 0.002, 0.01
local LATELY, RICHER, MOST_SHARE = 2, 1.05, 16
local COLD, SOON, COLD_TICKET = 4, 0.001, -1
local ODD, FORGOTTEN = 4, 0.75
local SLOW, SLOWER, SLOWEST, FASTER, NORMAL = 1 / 8, 0.5, 0.004, 1.03, 16
local LONGEST_STOP, LONGEST_DEBT, MEMORY, LONG_PAUSE = 5, 10, 10, 300
local GUESS, LEAST_GUESS, GUESS_FALLS, LEAST_OF_GUESS = 0.08, 1.0, 0.7, 0.05
local GUESS_GROWS, GUESS_ENDS = 0.02, 8
local MOST_OUTPUTS, LIARS, SMALL, CONTRADICTED, SET_BACK = 100, 3, 0.01, 1, -1
local FIRST_AHEAD, TO_ASK_AGAIN, ACTIVE, PRESENT = 5, 0.75, 2, 30
local PAUSE, SAME_OUTAGE, OUTPUTS_TOLD, KEPT = 1, 5, 20, 3600
local OUTPUT, REFUSED = 3, 429
local max, min, floor, log = math.max, math.min, math.floor, math.log

local step = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = step.now or (time[1] + time[2] / 1e6)
local packed = redis.call('GET', KEYS[1])
local s = packed and cmsgpack.unpack(packed) or {
  limit = {0, 0, 0}, rate = {0, 0, 0}, size = {0, 0, 0}, clock = {0, 0, 0},
  share = {1, 1, 1}, drift = {0, 0, 0},
  full_at = {NEVER, NEVER, NEVER}, rich_at = {NEVER, NEVER, NEVER}, plenty_at = {NEVER, NEVER, NEVER},
  known = false, epoch = 0, told_at = NEVER, output_mean = -1, outputs = 0, seen = 0,
  moving = true, hold_until = NEVER, pace = NORMAL, pace_clock = NEVER,
  cold = 0, cold_since = NEVER, cold_open = 0, free = false, recent = 0, guess = 0, odd = 0, zeros = 0,
  back_at = NEVER,
}

local function margin_of(k) return min(s.size[k] * MARGIN, MOST_MARGIN) end

local function end_guess()
  s.guess, s.known, s.epoch, s.rate[1] = 0, false, s.epoch + 1, 0
end

local function set_back(by)
  s.told_at, s.hold_until = s.told_at + by, s.hold_until + by
  s.pace_clock, s.cold_since = s.pace_clock + by, s.cold_since + by
  for k = 1, 3 do
    s.clock[k], s.full_at[k] = s.clock[k] + by, s.full_at[k] + by
    s.rich_at[k], s.plenty_at[k] = s.rich_at[k] + by, s.plenty_at[k] + by
  end
  s.epoch = s.epoch + 1
end

local function move(elapsed)
  s.recent = s.recent * max(0, 1 - elapsed / MEMORY)
  if s.guess > 0 then
    s.rate[1] = s.rate[1] * (1 + GUESS_GROWS * min(elapsed, LONG_PAUSE))
    if s.rate[1] > GUESS_ENDS * s.guess then end_guess() end
  end
  if s.pace < NORMAL then s.pace = min(NORMAL, s.pace * FASTER ^ min(elapsed, LONG_PAUSE)) end
  s.moving = not s.known or s.pace < NORMAL or s.guess > 0
  for k = 1, 3 do
    local share = s.share[k]
    if now - s.rich_at[k] < LATELY then
      s.moving = true
      if share >= 1 and s.pace >= NORMAL then
        share = min(MOST_SHARE, share * RICHER ^ min(elapsed, LATELY))
      end
    end
    if share ~= 1 then
      if s.rate[k] > 0 then s.clock[k] = s.clock[k] + (1 - share) * elapsed end
      if share < 1 then
        local speed = now - s.full_at[k] < LATELY and FAST_RETURN or RETURN
        share = min(1, share + speed * elapsed)
      end
      s.share[k] = share
      s.moving = true
    end
  end
end

local function advance()
  local elapsed = now - s.seen
  if elapsed < 0 then
    if elapsed > SET_BACK then return end
    set_back(elapsed)
    elapsed = 0
  end
  s.seen = now
  if s.moving then move(elapsed) end
end

local function book_cold(start, cost)
  if not s.free then
    if s.cold == 0 then s.cold_since = now end
    if s.cold >= COLD then
      start = max(start, s.cold_since + log((s.cold + 1) / COLD) / log(2))
    end
  end
  if start - now > SOON then return start - now end
  s.cold, s.cold_open, s.recent = s.cold + 1, s.cold_open + 1, s.recent + 1
  return 0, {start = now, cost = cost}
end

local function book(tokens_in, max_tokens, ahead, part)
  if now ~= s.seen then advance() end
  local start, mean = max(s.hold_until, now), s.output_mean
  local cost = {1, tokens_in, (mean >= 0 and mean < max_tokens) and mean or max_tokens}
  if not s.known then return book_cold(start, cost) end
  local clocks = {s.clock[1], s.clock[2], s.clock[3]}
  for k = 1, 3 do
    local rate = s.rate[k]
    if rate > 0 then
      local need, margin, room = min(cost[k] / rate, MINUTE), margin_of(k) * part, max(s.size[k], 1)
      if need + margin > room then margin = max(0, room - need) end
      local full = now - max(s.size[k], need + margin)
      clocks[k] = max(clocks[k], full) + need
      start = max(start, clocks[k] + margin)
    end
  end
  local is_slow = s.moving and s.pace < NORMAL and s.rate[1] > 0
  if is_slow then start = max(start, s.pace_clock) end
  if start - now > ahead then return start - now end
  if s.moving then s.recent = s.recent + 1 end
  if is_slow then s.pace_clock = max(s.pace_clock, now) + 1 / (s.rate[1] * s.pace) end
  s.clock = {clocks[1], clocks[2], clocks[3]}
  local drifts = {s.drift[1], s.drift[2], s.drift[3]}
  return start - now, {start = start, cost = cost, clocks = clocks, drifts = drifts, epoch = s.epoch}
end

local function drift(k, missing, lower)
  if missing <= SMALL then return end
  s.clock[k], s.drift[k] = s.clock[k] + missing, s.drift[k] + missing
  if lower then
    s.share[k] = max(LEAST_SHARE, s.share[k] * (1 - LOWER * min(missing, 1)))
    s.moving = true
  end
end

local function expected(t, k, back)
  return t.start - t.clocks[k] + back - (s.drift[k] - t.drifts[k])
end

local function see_shortage(t, k, level, back)
  level = level + ROUNDED[k] / s.rate[k]
  if level >= margin_of(k) then
    s.plenty_at[k] = max(s.plenty_at[k], t.start)
  elseif t.clocks and t.epoch == s.epoch and s.zeros < LIARS then
    local missing = expected(t, k, back) - level
    local is_large = missing > max(1, s.size[k] / 4)
    if not (is_large and s.plenty_at[k] > t.start - CONTRADICTED) then drift(k, missing, true) end
  end
end

local function see_refusal(t, k, level, back, was_known)
  local rounded, need = ROUNDED[k] / s.rate[k], t.cost[k] / s.rate[k]
  level = level + rounded
  if level >= max(margin_of(k), need + rounded) then
    s.plenty_at[k] = max(s.plenty_at[k], t.start)
    return false
  end
  if t.retry_after and t.retry_after > 0 then
    level = min(level, need - min(t.retry_after - 1, LONGEST_DEBT))
  end
  local planned
  if t.clocks and t.epoch == s.epoch then planned = expected(t, k, back)
  else planned = t.start - s.clock[k] end
  drift(k, planned - level, was_known)
  return true
end

local function change_limit(t, k, limit, left)
  local before, rate, later = s.rate[k], limit / 60, 0
  if before == 0 then
    later = min(s.cold_open * t.cost[k] / rate, MINUTE)
    s.size[k] = left and min(max(left / rate, SMALLEST), MINUTE) or SMALLEST
  elseif t.clocks then
    later = min(max(0, s.clock[k] - t.clocks[k]) * before / rate, MINUTE)
  end
  s.limit[k], s.rate[k], s.clock[k] = limit, rate, now
  if left and left >= 0 then s.clock[k] = t.start - (left + ROUNDED[k]) / rate + later end
  s.known, s.epoch = true, s.epoch + 1
end

local function stop(t)
  if t.start < s.hold_until then return end
  s.odd = s.odd + 1
  if s.odd < ODD then return end
  local named = t.retry_after and t.retry_after > 0 and t.retry_after or 1
  s.hold_until, s.moving = now + min(named, LONGEST_STOP), true
  if s.guess > 0 then
    s.rate[1] = max(s.guess * LEAST_OF_GUESS, s.rate[1] * GUESS_FALLS)
    s.clock[1] = min(s.clock[1], s.hold_until - 1 / s.rate[1])
  elseif s.rate[1] > 0 then
    s.pace_clock = s.hold_until
    s.pace = s.pace >= 1 and SLOW or max(SLOWEST, s.pace * SLOWER)
  elseif not s.known then
    s.guess = max(LEAST_GUESS, GUESS * s.recent)
    s.rate[1], s.size[1], s.clock[1] = s.guess, 1, min(now, s.hold_until - 1 / s.guess)
    s.known, s.epoch = true, s.epoch + 1
  end
end

local function learn(t)
  if now ~= s.seen then advance() end
  local status, used, is_success = t.status, t.used, false
  if status then
    is_success = status >= 200 and status < 300
    if t.epoch == COLD_TICKET then s.cold_open = max(0, s.cold_open - 1) end
  end
  if status and status ~= 0 and not is_success then
    used = {0, 0, 0}
  elseif used then
    s.outputs = min(s.outputs + 1, MOST_OUTPUTS)
    if s.output_mean < 0 then s.output_mean = used[3]
    else s.output_mean = s.output_mean + (used[3] - s.output_mean) / s.outputs end
  end
  local is_newest = false
  if t.limit then
    is_newest = s.told_at <= t.start and t.start <= now
    local any = t.limit[1] > 0 or t.limit[2] > 0 or t.limit[3] > 0
    if s.guess > 0 and any then end_guess() end
  end
  local was_known, is_short = s.known, false
  for k = 1, 3 do
    local said = t.limit and t.limit[k] or 0
    local left = t.remaining and t.remaining[k]
    if said > 0 and said ~= s.limit[k] and (is_newest or s.rate[k] == 0) then
      change_limit(t, k, said, left)
    end
    local rate = s.rate[k]
    if rate > 0 then
      local back = 0
      if used then
        back = min(t.cost[k] / rate, MINUTE) - min(used[k] / rate, MINUTE)
        if t.open then s.clock[k] = s.clock[k] - back end
      end
      if left and left >= 0 and said == s.limit[k] then
        local level = left / rate
        if level > s.size[k] then s.size[k] = min(level, MINUTE) end
        local size, margin = s.size[k], margin_of(k)
        if level > (size + margin) / 2 then s.full_at[k] = now end
        if status == REFUSED then
          is_short = see_refusal(t, k, level, back, was_known) or is_short
        elseif level < margin then
          see_shortage(t, k, level, back)
        else
          s.plenty_at[k] = max(s.plenty_at[k], t.start)
          local much_fuller = max(1, 0.8 * (size - margin))
          if k ~= OUTPUT and is_success and t.clocks and t.epoch == s.epoch
              and level - (t.start - t.clocks[k]) > much_fuller then
            s.rich_at[k], s.moving = now, true
          end
        end
      end
    end
  end
  if is_newest then s.told_at = t.start end
  if is_success then
    if t.remaining and t.remaining[1] == 0 then s.zeros = s.zeros + 1 end
    if not s.known then s.free = true end
    s.odd = s.odd * FORGOTTEN
  elseif status == REFUSED then
    s.zeros = 0
    if not is_short then stop(t) end
  end
end

local function come_back(known)
  if not s.known then
    for k = 1, 3 do
      s.limit[k], s.rate[k], s.size[k] = known[1][k], known[1][k] / 60, known[2][k]
    end
    s.output_mean, s.outputs = known[3], OUTPUTS_TOLD
    s.known, s.seen, s.epoch = true, now, s.epoch + 1
  end
  for k = 1, 3 do s.clock[k] = max(s.clock[k], now) end
  if step.back and now - s.back_at > SAME_OUTAGE then
    s.hold_until, s.back_at = max(s.hold_until, now + PAUSE), now
  end
end

local wants, answers = step.wants or {}, step.answers or {}
if #wants > 0 then
  redis.call('ZADD', KEYS[2], now, step.name)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - PRESENT)
  redis.call('EXPIRE', KEYS[2], 2 * PRESENT)
end
if step.known and (step.back or not s.known) then come_back(step.known) end
for _, answer in ipairs(answers) do learn(answer) end

local most = #wants
if s.known and #wants > 0 then
  local want, mean, rate = wants[1], s.output_mean, 1e300
  local tokens_out = (mean >= 0 and mean < want[2]) and mean or want[2]
  for k, units in ipairs({1, want[1], tokens_out}) do
    if s.rate[k] > 0 then rate = min(rate, s.rate[k] * s.share[k] / max(1, units)) end
  end
  local active = max(1, redis.call('ZCOUNT', KEYS[2], now - ACTIVE, '+inf'))
  most = max(step.sleeping > 0 and 0 or 1, floor(step.ahead * rate / active + 0.999) - step.sleeping)
end

local function three(x) return string.format('%.6f,%.6f,%.6f', x[1], x[2], x[3]) end
local bookings = {}
for number, want in ipairs(wants) do
  if number > most then
    bookings[number] = string.format('%.6f', step.ahead * TO_ASK_AGAIN)
    break
  end
  local ahead = step.ahead
  if number == 1 and step.sleeping == 0 then ahead = max(ahead, FIRST_AHEAD) end
  local wait, t = book(want[1], want[2], ahead, want[3])
  if not t then
    bookings[number] = string.format('%.6f', wait)
    break
  end
  local text = string.format('%.6f;%.6f;%.6f', wait, t.start, t.cost[3])
  if t.clocks then
    text = string.format('%s;%s;%s;%d', text, three(t.clocks), three(t.drifts), t.epoch)
  end
  bookings[number] = text
end

redis.call('SET', KEYS[1], cmsgpack.pack(s), 'EX', KEPT)
return {
  string.format('%.6f', now), redis.call('ZCARD', KEYS[2]), three(s.limit), three(s.size),
  string.format('%.6f', s.output_mean), three(s.share), unpack(bookings),
}
