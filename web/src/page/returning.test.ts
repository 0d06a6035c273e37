import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SignalError } from "../mesh/errors.ts";
import { persist } from "./returning.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const refusal = (code: string, retry_after_ms?: number) =>
  new SignalError({ code, message: "", ...(retry_after_ms ? { retry_after_ms } : {}) });

/** A seat that is kept for ten seconds, and a server that answers so, the last answer again and again. */
function returning(...answers: (SignalError | "seat")[]) {
  let attempts = 0;
  let troubles = 0;
  let wanted = true;
  const attempt = async () => {
    const answer = answers[Math.min(attempts++, answers.length - 1)];
    if (answer instanceof SignalError) throw answer;
    return answer;
  };
  const outcome = persist(attempt, {
    until: Date.now() + 10_000,
    wanted: () => wanted,
    trouble: () => troubles++,
  }).catch((error: SignalError) => error.code);
  return { outcome, attempts: () => attempts, troubles: () => troubles, leave: () => (wanted = false) };
}

test("what passes is waited for, as long as the server says", async () => {
  const t = returning(
    refusal("unavailable"),
    refusal("rate_limited", 4_000),
    refusal("server_draining"),
    "seat",
  );
  await vi.advanceTimersByTimeAsync(1_000);
  expect(t.attempts()).toBe(2);
  await vi.advanceTimersByTimeAsync(3_999);
  expect(t.attempts()).toBe(2);
  await vi.advanceTimersByTimeAsync(1_001);
  expect(await t.outcome).toBe("seat");
  expect(t.troubles()).toBe(3);
});

test("the grace time ends it", async () => {
  const t = returning(refusal("unavailable"));
  await vi.advanceTimersByTimeAsync(9_000);
  expect(t.attempts()).toBe(10);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await t.outcome).toBe("unavailable");
  expect(t.attempts()).toBe(11);
});

test("a seat that is gone is not waited for", async () => {
  const t = returning(refusal("resume_expired"));
  expect(await t.outcome).toBe("resume_expired");
  expect(t.troubles()).toBe(0);
});

test("nobody who has gone elsewhere is brought back", async () => {
  const t = returning(refusal("unavailable"), "seat");
  await vi.advanceTimersByTimeAsync(500);
  t.leave();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await t.outcome).toBe("unavailable");
  expect(t.attempts()).toBe(1);
});
