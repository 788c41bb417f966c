"""SQL that thins long series in the database: a page gets a thousand points, not a million.

A level (charge) keeps the least and the greatest value of each bin, so no dip is lost; a load,
which is a step function, is averaged by the time it lasted; a queue keeps the most of each bin; a
ledger (bytes stored) keeps the last value of each bin.

What holds at the ends of the part that is drawn was decided by events outside it: charge and loads
are followed from the last event before the part on.
"""

from __future__ import annotations

BINS = 400


CHARGE = """
    WITH event AS (
        SELECT t_s, charge_fraction AS charge, lead(t_s) OVER later AS next_s,
               lead(charge_fraction) OVER later - charge_fraction
                   + (lead(curtailed_wh) OVER later - curtailed_wh)
                     * coalesce(lead(charge_fraction / nullif(charge_wh, 0)) OVER later, 0) AS gain
        FROM power WHERE satellite = $satellite WINDOW later AS (ORDER BY t_s, event_row)),
    moment AS (
        SELECT t_s AS at_s, charge FROM event
        UNION ALL
        SELECT at_s, least(1, charge + gain * (at_s - t_s) / (next_s - t_s))
        FROM event JOIN (SELECT unnest([$from_s, $to_s]) AS at_s) ON at_s > t_s AND at_s < next_s
        UNION ALL
        SELECT t_s + (1 - charge) / gain * (next_s - t_s), 1 FROM event
        WHERE charge < 1 AND charge + gain > 1)
    SELECT at_s AS t_s, charge AS charge_fraction FROM moment
    WHERE at_s BETWEEN $from_s AND $to_s"""
"""Charge at each event of a part of the mission, at both of its ends, and where it became full.

Becoming full is no event of the log; what was curtailed until the next one tells when it was.
Parameters of the query: satellite, from_s, to_s.
"""


def extremes(series: str, column: str) -> str:
    """Least and greatest `column` of each bin, at the times they were reached, and both ends.

    Parameters of the query: bin_s and those of `series`, a query. Columns: time_h and `column`.
    """
    return f"""
        WITH series AS ({series}),
        bin AS (
            SELECT min({column}) AS low, arg_min(t_s, {column}) AS low_s,
                   max({column}) AS high, arg_max(t_s, {column}) AS high_s
            FROM series GROUP BY floor(t_s / $bin_s))
        SELECT DISTINCT time_h, value AS {column} FROM (
            SELECT low_s / 3600 AS time_h, low AS value FROM bin
            UNION ALL SELECT high_s / 3600, high FROM bin
            UNION ALL SELECT min(t_s) / 3600, arg_min({column}, t_s) FROM series
            UNION ALL SELECT max(t_s) / 3600, arg_max({column}, t_s) FROM series)
        WHERE time_h IS NOT NULL ORDER BY 1"""


def _steps(table: str, columns: tuple[str, ...]) -> str:
    """A table ``step`` of step functions, each step cut to the part of the mission drawn."""
    named = ", ".join(columns)
    return f"""
        WITH event AS (
            SELECT event_row, t_s, {named},
                   lead(t_s, 1, t_s) OVER (ORDER BY t_s, event_row) AS next_s
            FROM {table} WHERE satellite = $satellite),
        step AS (
            SELECT event_row, {named}, greatest(t_s, $from_s) AS t_s,
                   least(next_s, $to_s) AS until_s, until_s - greatest(t_s, $from_s) AS lasts_s
            FROM event WHERE next_s >= $from_s AND t_s <= $to_s)"""


def step_means(table: str, columns: tuple[str, ...]) -> str:
    """Time-weighted mean of step functions, by the bin in which each step begins.

    The last row is what holds at the end.
    Parameters of the query: satellite, from_s, to_s, bin_s.
    """
    means = ", ".join(f"sum({c} * lasts_s) / sum(lasts_s) AS {c}" for c in columns)
    last = ", ".join(f"arg_max({c}, event_row)" for c in columns)
    return f"""{_steps(table, columns)}
        SELECT min(t_s) / 3600 AS time_h, {means}
        FROM step WHERE lasts_s > 0 GROUP BY floor(t_s / $bin_s)
        UNION ALL SELECT max(until_s) / 3600, {last} FROM step HAVING count(*) > 0
        ORDER BY 1"""


def orbit_means(table: str, columns: tuple[str, ...]) -> str:
    """Time-weighted mean of step functions from one umbra to the next.

    Bins of equal length would beat with the orbit: a night that straddles two of them would fall
    into one. What is left of an orbit at either end is left out.
    Parameters of the query: satellite, from_s, to_s.
    """
    means = ", ".join(f"sum({c} * lasts_s) / sum(lasts_s) AS {c}" for c in columns)
    return f"""{_steps(table, columns)}
        SELECT min(step.t_s) / 3600 AS time_h, {means}
        FROM step ASOF LEFT JOIN (
            SELECT start_s FROM eclipse WHERE satellite = $satellite AND kind = 'umbra') umbra
            ON step.t_s >= umbra.start_s
        GROUP BY umbra.start_s HAVING sum(lasts_s) > 0
        QUALIFY sum(lasts_s) > 0.9 * median(sum(lasts_s)) OVER () ORDER BY 1"""


MOST_WAITING = """
    WITH change AS (
        SELECT start_s - queued_s AS t_s, 1 AS frames FROM inference WHERE satellite = $satellite
        UNION ALL SELECT t_s, -1 FROM inference WHERE satellite = $satellite),
    level AS (
        SELECT t_s, sum(frames) OVER so_far AS frames, lead(t_s, 1, t_s) OVER so_far AS until_s
        FROM change WINDOW so_far AS (ORDER BY t_s, frames DESC ROWS UNBOUNDED PRECEDING)),
    step AS (
        SELECT unnest(range(floor(greatest(t_s, $from_s) / $bin_s)::BIGINT,
                            floor(least(until_s, $to_s) / $bin_s)::BIGINT + 1)) AS bin, frames
        FROM level WHERE frames > 0 AND until_s >= $from_s AND t_s <= $to_s)
    SELECT (bin + 0.5) * $bin_s / 3600 AS time_h, max(frames)::INT AS frames FROM step
    GROUP BY bin ORDER BY 1"""
"""Most frames that waited for the payload computer or were on it, at the middle of each bin.

A frame counts in every bin that it waits through, not only where it comes and goes.
Parameters of the query: satellite, from_s, to_s, bin_s.
"""

STORED_MIB = """
    WITH change AS (
        SELECT s.t_s, s.event_row AS row, coalesce(t.priority, 0) AS priority,
               CASE WHEN s.change IN ('captured', 'derived') THEN 1 ELSE -1 END
                   * s.delta_bytes / 1048576 AS mib
        FROM storage s LEFT JOIN capture c USING (capture) LEFT JOIN target t ON t.name = c.target
        WHERE s.satellite = $satellite AND s.t_s <= $to_s),
    total AS (
        SELECT t_s, row, priority,
               sum(mib) OVER (PARTITION BY priority ORDER BY t_s, row ROWS UNBOUNDED PRECEDING)
                   AS mib FROM change),
    last AS (
        SELECT greatest(floor(t_s / $bin_s), floor($from_s / $bin_s)) AS bin, priority,
               arg_max(mib, row) AS mib
        FROM total GROUP BY 1, 2),
    grid AS (SELECT bin, priority
             FROM (SELECT bin FROM last UNION SELECT floor($to_s / $bin_s)),
                  (SELECT DISTINCT priority FROM last))
    SELECT g.bin * $bin_s / 3600 AS time_h, g.priority,
           greatest(0, coalesce(last_value(l.mib IGNORE NULLS) OVER (
               PARTITION BY g.priority ORDER BY g.bin ROWS UNBOUNDED PRECEDING), 0)) AS mib
    FROM grid g LEFT JOIN last l ON l.bin = g.bin AND l.priority = g.priority ORDER BY 1, 2"""
"""MiB on board by the priority of their targets, at the end of each bin and of the time drawn.

Parameters of the query: satellite, from_s, to_s, bin_s.
"""
