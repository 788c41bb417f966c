"""SQL that thins long series in the database: a page gets a thousand points, not a million.

A level (charge) keeps the least and the greatest value of each bin, so no dip is lost; a load,
which is a step function, is averaged by the time it lasted; a queue keeps the most of each bin; a
ledger (bytes stored) keeps the last value of each bin.
"""

from __future__ import annotations

BINS = 400


def extremes(table: str, column: str) -> str:
    """Least and greatest `column` of each bin, at the times they were reached.

    Parameters of the query: satellite, from_s, to_s, bin_s. Columns: time_h and `column`.
    """
    return f"""
        WITH bin AS (
            SELECT floor(t_s / $bin_s) AS bin,
                   min({column}) AS low, arg_min(t_s, {column}) AS low_s,
                   max({column}) AS high, arg_max(t_s, {column}) AS high_s
            FROM {table}
            WHERE satellite = $satellite AND t_s BETWEEN $from_s AND $to_s GROUP BY 1)
        SELECT DISTINCT time_h, value AS {column} FROM (
            SELECT low_s / 3600 AS time_h, low AS value FROM bin
            UNION ALL SELECT high_s / 3600, high FROM bin)
        ORDER BY 1"""


def step_means(table: str, columns: tuple[str, ...]) -> str:
    """Time-weighted mean of step functions, by the bin in which each step begins.

    Parameters of the query: satellite, from_s, to_s, bin_s.
    """
    means = ", ".join(
        f"coalesce(sum({c} * lasts_s) / nullif(sum(lasts_s), 0), avg({c})) AS {c}" for c in columns
    )
    return f"""
        WITH step AS (
            SELECT *, lead(t_s, 1, t_s) OVER (ORDER BY t_s, event_row) - t_s AS lasts_s
            FROM {table}
            WHERE satellite = $satellite AND t_s BETWEEN $from_s AND $to_s)
        SELECT min(t_s) / 3600 AS time_h, {means}
        FROM step GROUP BY floor(t_s / $bin_s) ORDER BY 1"""


def orbit_means(table: str, columns: tuple[str, ...]) -> str:
    """Time-weighted mean of step functions from one umbra to the next.

    Bins of equal length would beat with the orbit: a night that straddles two of them would fall
    into one. What is left of an orbit at either end is left out.
    Parameters of the query: satellite, from_s, to_s.
    """
    means = ", ".join(f"sum({c} * lasts_s) / sum(lasts_s) AS {c}" for c in columns)
    return f"""
        WITH step AS (
            SELECT *, lead(t_s, 1, t_s) OVER (ORDER BY t_s, event_row) - t_s AS lasts_s
            FROM {table}
            WHERE satellite = $satellite AND t_s BETWEEN $from_s AND $to_s)
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
