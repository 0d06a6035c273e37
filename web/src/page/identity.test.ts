import { expect, test } from "vitest";
import { claimsOf } from "./identity.ts";

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
