import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { claimsOf, createIdentity } from "./identity.ts";

const token = (payload: unknown) =>
  `eyJhbGciOiJIUzI1NiJ9.${Buffer.from(JSON.stringify(payload)).toString("base64url")}.c2ln`;

test("a token tells who it is for", () => {
  expect(claimsOf(token({ sub: "u-1", name: "王宇?>", meeting: "*", exp: 1 }))).toEqual({
    sub: "u-1",
    name: "王宇?>",
    meeting: "*",
  });
  expect(claimsOf(token({ sub: "u-1", meeting: "k" }))).toMatchObject({ name: "u-1", meeting: "k" });
});

test.each(["", "x", "a.b.c", "a.!.c", token(null), token({ meeting: "*" }), token({ sub: 1, meeting: "*" })])(
  "%s is none",
  (text) => expect(claimsOf(text)).toBeNull(),
);

describe("a link with a token", () => {
  const mine = token({ sub: "u-1", name: "Ada", meeting: "*" });
  const renewed = token({ sub: "u-1", name: "Ada", meeting: "k", exp: 2 });
  const theirs = token({ sub: "u-2", name: "Eve", meeting: "*" });
  let stored: Map<string, string>;

  /** The page is opened at this address, in the same tab as before. */
  function opened(hash: string, identity = createIdentity()) {
    vi.stubGlobal("location", { hash, pathname: "/m/k", search: "?relay" });
    identity.take();
    return identity;
  }

  beforeEach(() => {
    stored = new Map();
    vi.stubGlobal("sessionStorage", {
      getItem: (key: string) => stored.get(key) ?? null,
      setItem: (key: string, value: string) => stored.set(key, value),
      removeItem: (key: string) => stored.delete(key),
    });
    vi.stubGlobal("history", { state: null, replaceState: vi.fn() });
  });
  afterEach(() => vi.unstubAllGlobals());

  test("says who we are where nobody was, also after a reload, and leaves the address", () => {
    expect(opened(`#token=${mine}`).token()).toBe(mine);
    expect(history.replaceState).toHaveBeenCalledWith(null, "", "/m/k?relay");
    expect(opened("").claims()?.sub).toBe("u-1");
  });

  test("of the same person takes the place of an older one", () => {
    opened(`#token=${mine}`);
    const identity = opened(`#token=${renewed}`);
    expect(identity.token()).toBe(renewed);
    expect(identity.offered()).toBeNull();
  });

  test.each([true, false])("of somebody else replaces nobody unasked (in the same page: %s)", (same) => {
    const before = opened(`#token=${mine}`);
    const changed = vi.fn();
    const identity = same ? before : createIdentity();
    identity.on("change", changed);
    opened(`#token=${theirs}`, identity);
    expect(identity.claims()?.sub).toBe("u-1");
    expect(identity.offered()?.name).toBe("Eve");
    expect(changed).toHaveBeenCalled();
    identity.become(false);
    expect([identity.token(), identity.offered()]).toEqual([mine, null]);
    expect(opened("").token()).toBe(mine);
    opened(`#token=${theirs}`, identity);
    identity.become(true);
    expect([identity.token(), identity.offered()]).toEqual([theirs, null]);
  });

  test.each(["#token=nonsense", "#token="])("that is none signs nobody out: %s", (hash) => {
    opened(`#token=${mine}`);
    expect(opened(hash).token()).toBe(mine);
    expect(opened(hash).offered()).toBeNull();
  });
});
