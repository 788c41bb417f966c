"""What became of bytes and pixels, asked of the event log: for the downlink page and the map.

A product without blocks is a preview: it shows no ground and counts for no target. What a product
leaves out is counted in the region of interest, as in the metric: the rest of the frame is cropped.
"""

from __future__ import annotations

DELIVERED = """
    SELECT p.product, p.capture, p.target, p.bytes, p.clear_px, p.cloud_px,
           l.end_s AS delivered_s, c.t_s AS captured_s, c.gsd_m,
           d.region_px
    FROM product p JOIN downlink l ON l.product = p.product AND l.complete
    JOIN capture c ON c.capture = p.capture JOIN decision d ON d.capture = p.capture
    WHERE p.blocks > 0"""

GROWTH = f"""
    WITH best AS (
        SELECT delivered_s, target, product, max(clear_px * gsd_m * gsd_m / 1e6) OVER (
            PARTITION BY target ORDER BY delivered_s, product ROWS UNBOUNDED PRECEDING) AS km2
        FROM ({DELIVERED})),
    step AS (
        SELECT delivered_s, product,
               km2 - lag(km2, 1, 0) OVER (PARTITION BY target ORDER BY delivered_s, product) AS gain
        FROM best),
    total AS (
        SELECT delivered_s / 3600 AS time_h,
               sum(gain) OVER (ORDER BY delivered_s, product ROWS UNBOUNDED PRECEDING) AS km2
        FROM step)
    SELECT max(time_h) AS time_h, max(km2) AS km2 FROM total
    GROUP BY floor(time_h / $bin_h) ORDER BY 1"""

SATISFIED = f"""
    SELECT min(d.delivered_s) / 3600 AS time_h
    FROM ({DELIVERED}) d JOIN target t ON t.name = d.target
    WHERE d.region_px > 0 AND 1 - d.clear_px / d.region_px < t.cloud_limit
      AND (t.deadline_h IS NULL OR d.delivered_s <= t.deadline_h * 3600)
    GROUP BY d.target ORDER BY 1"""

DELAYS = f"""
    WITH each AS (SELECT (delivered_s - captured_s) / 3600 AS delay_h FROM ({DELIVERED})),
    width AS (SELECT greatest(max(delay_h) / 40, 1e-3) AS width_h FROM each)
    SELECT floor(delay_h / width_h) * width_h AS from_h, any_value(width_h) AS width_h,
           count(*) AS products
    FROM each, width GROUP BY 1 ORDER BY 1"""

BYTES = """
    SELECT change, sum(delta_bytes) / 1048576 AS mib FROM storage GROUP BY change
    UNION ALL SELECT 'queued',
        (coalesce((SELECT sum(bytes) FROM product), 0)
         - coalesce((SELECT sum(bytes) FROM downlink), 0)
         - coalesce((SELECT sum(delta_bytes) FROM storage
                     WHERE product <> '' AND change IN ('dropped_overflow', 'dropped_fault')),
                    0)) / 1048576"""

PIXELS = """
    WITH sent AS (SELECT DISTINCT product FROM downlink WHERE complete),
    shown AS (SELECT * FROM product WHERE blocks > 0),
    held AS (SELECT capture FROM storage GROUP BY capture
             HAVING sum(CASE WHEN change IN ('captured', 'derived') THEN delta_bytes
                        ELSE -delta_bytes END) > 0),
    lost AS (SELECT DISTINCT capture FROM storage
             WHERE change IN ('dropped_overflow', 'dropped_fault')),
    released AS (SELECT DISTINCT capture FROM storage WHERE change = 'dropped_released'),
    each AS (
        SELECT c.clear_px AS clear_px, c.cloud_px AS cloud_px,
               coalesce(p.clear_px, CASE WHEN h.capture IS NULL AND r.capture IS NULL
                                         THEN 0 ELSE d.clear_px_kept END, 0) AS clear_kept,
               coalesce(p.cloud_px, CASE WHEN h.capture IS NULL AND r.capture IS NULL
                                         THEN 0 ELSE d.cloud_px_kept END, 0) AS cloud_kept,
               r.capture IS NOT NULL AS released,
               p.product IS NULL AND d.capture IS NOT NULL AND r.capture IS NULL AS unasked,
               s.product IS NOT NULL AS delivered,
               p.product IS NULL AND d.capture IS NULL AS undecided,
               l.capture IS NOT NULL OR NOT c.stored AS lost
        FROM capture c LEFT JOIN decision d USING (capture) LEFT JOIN shown p USING (capture)
        LEFT JOIN sent s ON s.product = p.product LEFT JOIN lost l ON l.capture = c.capture
        LEFT JOIN held h ON h.capture = c.capture LEFT JOIN released r ON r.capture = c.capture)
    SELECT sum(clear_kept) FILTER (delivered) AS clear_delivered,
           sum(cloud_kept) FILTER (delivered) AS cloud_delivered,
           sum(clear_kept) FILTER (NOT delivered AND NOT lost AND NOT unasked AND NOT released)
               AS clear_queued,
           sum(cloud_kept) FILTER (NOT delivered AND NOT lost AND NOT unasked AND NOT released)
               AS cloud_queued,
           sum(clear_px - clear_kept) FILTER (NOT undecided AND NOT lost) AS clear_dropped,
           sum(cloud_px - cloud_kept) FILTER (NOT undecided AND NOT lost) AS cloud_dropped,
           sum(clear_kept) FILTER (released AND NOT lost) AS clear_released,
           sum(cloud_kept) FILTER (released AND NOT lost) AS cloud_released,
           coalesce(sum(clear_px) FILTER (undecided AND NOT lost), 0)
               + coalesce(sum(clear_kept) FILTER (unasked AND NOT lost), 0) AS clear_waiting,
           coalesce(sum(cloud_px) FILTER (undecided AND NOT lost), 0)
               + coalesce(sum(cloud_kept) FILTER (unasked AND NOT lost), 0) AS cloud_waiting,
           sum(clear_px - CASE WHEN delivered THEN clear_kept ELSE 0 END) FILTER (lost)
               AS clear_lost,
           sum(cloud_px - CASE WHEN delivered THEN cloud_kept ELSE 0 END) FILTER (lost)
               AS cloud_lost
    FROM each"""

STORY = f"""
    WITH chosen AS (
        SELECT target FROM capture GROUP BY target
        ORDER BY max(attempt) DESC, target LIMIT $most OFFSET $skip)
    SELECT c.target, c.t_s / 3600 AS time_h, c.attempt, c.cover, c.reacquisition,
           CASE WHEN d.action IS NULL THEN 'not decided yet'
                WHEN d.action = 'drop' THEN 'dropped'
                WHEN d.action = 'overflow' THEN 'lost to full storage'
                WHEN c.cover < t.cloud_limit THEN 'came clear'
                WHEN d.action = 'prune' THEN 'cloudy, kept in part'
                ELSE 'cloudy, kept whole' END AS outcome,
           x.delivered_s / 3600 AS delivered_h
    FROM capture c JOIN chosen USING (target) JOIN target t ON t.name = c.target
    LEFT JOIN decision d USING (capture)
    LEFT JOIN ({DELIVERED}) x ON x.capture = c.capture
    ORDER BY c.target, c.t_s"""

TARGET_STATES = """
    WITH held AS (SELECT capture FROM storage WHERE t_s <= $now_s GROUP BY capture
                  HAVING sum(CASE WHEN change IN ('captured', 'derived') THEN delta_bytes
                             ELSE -delta_bytes END) > 0),
    seen AS (
        SELECT c.target, count(*) AS captures,
               arg_max(coalesce(d.cover_detected, -1), c.t_s) AS last_detected,
               max((h.capture IS NOT NULL AND d.action <> 'drop'
                    AND d.cover_detected >= 0 AND d.cover_detected < t.cloud_limit)::INT)
                   AS clear_on_board
        FROM capture c JOIN target t ON t.name = c.target
        LEFT JOIN held h ON h.capture = c.capture
        LEFT JOIN decision d ON d.capture = c.capture AND d.t_s <= $now_s
        WHERE c.t_s <= $now_s GROUP BY c.target),
    landed AS (
        SELECT p.target, bool_or(t.deadline_h IS NULL OR l.end_s <= t.deadline_h * 3600) AS in_time
        FROM product p
        JOIN downlink l ON l.product = p.product AND l.complete AND l.end_s <= $now_s
        JOIN decision d ON d.capture = p.capture JOIN target t ON t.name = p.target
        WHERE p.blocks > 0 AND d.region_px > 0
          AND 1 - p.clear_px / d.region_px < t.cloud_limit
        GROUP BY p.target)
    SELECT t.name, t.latitude_deg, t.longitude_deg, coalesce(s.captures, 0) AS captures,
           CASE WHEN l.in_time THEN 'delivered clear'
                WHEN NOT l.in_time THEN 'came too late'
                WHEN s.captures IS NULL THEN 'waiting'
                WHEN s.clear_on_board = 1 THEN 'stored clear'
                WHEN s.captures > 1 THEN 'reacquired' ELSE 'cloudy' END AS state,
           CASE WHEN s.captures IS NULL THEN 'priority ' || t.priority
                WHEN s.last_detected < 0 THEN 'no mask of the last capture'
                ELSE 'last detected cover ' || round(100 * s.last_detected) || ' %' END AS note
    FROM target t LEFT JOIN seen s ON s.target = t.name LEFT JOIN landed l ON l.target = t.name"""
