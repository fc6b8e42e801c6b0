// How long to wait before trying again.

/**
 * Milliseconds before attempt number `attempt` (from 0): twice as long each time up to a limit, of which a random part is
 * left out, so that the clients of a node that was restarted do not all come at once.
 */
export function backoff(attempt, { first = 250, longest = 5000 } = {}, random = Math.random) {
  const full = Math.min(longest, first * 2 ** Math.min(attempt, 16));
  return full * (0.5 + random() / 2);
}
