"""Which real scene a camera over a target would see.

Weather says how much cloud there is; this module finds a scene that shows it. ``library`` takes the
labelled scene whose cover and surface match best; ``composite`` lays clouds of the asked cover
over a real clear background, so that the truth is exact; ``sequence`` follows a real time series
by date, and the cover of its scenes is then the weather; ``stac`` does so with scenes of each
target's own ground (`simulator.catalogue`). What becomes of a scene in a frame is in
`simulator.environment.frames`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final

from payload.scenes import Scene, SceneCollection, SceneError
from payload.surfaces import UNKNOWN_SURFACE, spectral_surface
from simulator.environment.frames import CapturedPixels, Frames, cover_of

COVER_MATCH: Final = 0.025
"""Scenes whose cover is this near to the best match are as good; one is drawn by key."""

OTHER_SURFACE: Final = 0.2
"""A scene of another surface is taken when its cover is nearer by more than this: what weather
says about cloud decides a mission, and few collections have every surface at every cover."""

SNOW_LATITUDE_DEG: Final = 50.0
"""Targets of unstated surface get snow and ice only beyond this latitude."""

COMPOSITE_STEP: Final = 0.1
"""Composites are made at multiples of this cover, so that distinct frames stay few."""

STRATEGIES: Final = ("library", "composite", "sequence", "stac")

MISSING_NAMED: Final = 5
"""So many targets without a scene are named."""

_LEAP_YEAR: Final = 2024
_SEASON_DAYS: Final = 366


@dataclass(frozen=True)
class _Asked:
    """What a frame is wanted of: the arguments of `SceneLibrary.pixels`, the ground decided."""

    target: str
    ground: str
    t_s: float
    cover: float
    frame_px: tuple[int, int]


def collection_hashes(collections: Sequence[SceneCollection]) -> dict[str, str]:
    """One hash per collection, over its images, its masks and what its manifest says of them.

    Two listed collections of one name are told apart by a number.
    """
    hashes: dict[str, str] = {}
    for index, collection in enumerate(collections):
        digest = hashlib.sha256()
        for scene in sorted(collection, key=lambda s: s.name):
            digest.update(_identity(scene).encode())
        namesakes = [c.name for c in collections[:index]].count(collection.name)
        name = f"{collection.name}#{namesakes + 1}" if namesakes else collection.name
        hashes[name] = digest.hexdigest()
    return hashes


class SceneLibrary:
    """Finds the scene of a capture and gives its frame.

    Parameters
    ----------
    collections : sequence of SceneCollection
    strategy : {"library", "composite", "sequence", "stac"}
    seed : int
    epoch : datetime
        Time, UTC, of ``t_s`` = 0, for `sequence` and `stac`.

    Raises
    ------
    SceneError
        No collection holds what the strategy needs.
    """

    def __init__(
        self,
        collections: Sequence[SceneCollection],
        *,
        strategy: str,
        seed: int,
        epoch: datetime,
    ) -> None:
        self._seed, self._epoch = seed, epoch
        self._collections = tuple(collections)
        self._frames = Frames()
        self._dates: dict[tuple[str, str], list[Scene]] = {}
        names = ", ".join(c.name for c in collections)
        self._build = self._builder(strategy)
        self._own_ground = strategy == "stac"
        self._scenes = _usable(strategy, collections)
        if not self._scenes:
            raise SceneError(
                f"scenes.collections ({names}): no scene serves strategy {strategy!r}; "
                + _NEEDS[strategy]
            )
        if strategy == "sequence":
            self._scenes = _with_surface_of_place(self._scenes)
        else:
            self._scenes = tuple(map(_with_surface, self._scenes))
        self._scenes = tuple(map(_with_cover, self._scenes))
        surfaces = {scene.surface for scene in self._scenes}
        self._surfaces = tuple(sorted(surfaces - {UNKNOWN_SURFACE} or surfaces))
        self._places: dict[str, list[Scene]] = {}
        for scene in self._scenes:
            self._places.setdefault(scene.place, []).append(scene)

    def manifest_sha256(self) -> dict[str, str]:
        """One hash per collection (`collection_hashes`)."""
        return collection_hashes(self._collections)

    def check_targets(self, targets: Iterable[str]) -> None:
        """Refuse targets that no scene shows, where each is to show its own ground.

        Raises
        ------
        SceneError
            With the names of some of them.
        """
        missing = [name for name in targets if self._own_ground and name not in self._places]
        if missing:
            shown = ", ".join(map(repr, missing[:MISSING_NAMED]))
            more = len(missing) - MISSING_NAMED
            raise SceneError(
                _WITHOUT_SCENE.format(shown + (f" and {more} more" if more > 0 else ""))
            )

    def pixels(
        self,
        target: str,
        surface: str | None,
        latitude_deg: float,
        t_s: float,
        cover: float,
        frame_px: tuple[int, int],
    ) -> CapturedPixels:
        """The frame a camera sees.

        Parameters
        ----------
        target : str
        surface : str or None
            What the ground is; drawn by target where it is not known or no scene shows it.
        latitude_deg : float
            Of the target; snow is kept for high latitudes.
        t_s : float
            Seconds since the epoch.
        cover : float
            Cloud fraction the weather gives, 0..1.
        frame_px : (int, int)
            Rows and columns of the camera's frame.
        """
        ground = self._ground(target, surface, latitude_deg)
        return self._build(_Asked(target, ground, t_s, cover, frame_px))

    def recorded_cover(
        self, target: str, surface: str | None, latitude_deg: float, t_s: float
    ) -> float:
        """Cover, 0..1, of the scene that `sequence` or `stac` shows of a target: its weather.

        The cover is that of the whole scene, as with `library`; the frame is its middle, or
        mirror images of it. Parameters are those of `pixels`.
        """
        scene = self._scene_of_date(target, self._ground(target, surface, latitude_deg), t_s)
        return scene.cloud_fraction or 0.0

    def _builder(self, strategy: str) -> Callable[[_Asked], CapturedPixels]:
        builders = {
            "library": self._from_library,
            "composite": self._from_composite,
            "sequence": self._from_sequence,
            "stac": self._from_sequence,
        }
        if strategy not in builders:
            raise SceneError(
                f"scenes.strategy is {strategy!r}; this build serves {', '.join(STRATEGIES)}"
            )
        return builders[strategy]

    def _ground(self, target: str, surface: str | None, latitude_deg: float) -> str:
        """A surface that some scene shows: the target's own, or one drawn for it."""
        if surface in self._surfaces:
            return str(surface)
        snowless = tuple(s for s in self._surfaces if s != "snow_ice")
        choices = snowless if abs(latitude_deg) < SNOW_LATITUDE_DEG and snowless else self._surfaces
        return choices[self._draw(f"surface|{target}", len(choices))]

    def _from_library(self, asked: _Asked) -> CapturedPixels:
        misses = [
            abs((scene.cloud_fraction or 0.0) - asked.cover)
            + OTHER_SURFACE * (scene.surface not in (asked.ground, UNKNOWN_SURFACE))
            for scene in self._scenes
        ]
        nearest = min(misses) + COVER_MATCH
        near = [s for s, miss in zip(self._scenes, misses, strict=True) if miss <= nearest]
        scene = near[self._draw(f"scene|{asked.target}|{int(asked.t_s)}", len(near))]
        return self._frames.as_it_is(scene, asked.frame_px)

    def _from_composite(self, asked: _Asked) -> CapturedPixels:
        scenes = [scene for scene in self._scenes if scene.surface == asked.ground]
        scene = scenes[self._draw(f"background|{asked.target}", len(scenes))]
        level = round(round(asked.cover / COMPOSITE_STEP) * COMPOSITE_STEP, 2)
        return self._frames.under_clouds(scene, level, asked.frame_px)

    def _from_sequence(self, asked: _Asked) -> CapturedPixels:
        scene = self._scene_of_date(asked.target, asked.ground, asked.t_s)
        return self._frames.as_it_is(scene, asked.frame_px)

    def _scene_of_date(self, target: str, ground: str, t_s: float) -> Scene:
        """The labelled scene of the target's place that is nearest in the year.

        Dates without a label are left out: without truth nothing could be counted, so the nearest
        labelled date stands in for them.
        """
        day = _day_of_season(self._epoch + timedelta(seconds=t_s))

        def days_away(scene: Scene) -> float:
            apart = abs(_day_of_season(date.fromisoformat(scene.date)) - day)
            return min(apart, _SEASON_DAYS - apart)

        return min(self._dates_of(target, ground), key=lambda s: (days_away(s), s.name))

    def _dates_of(self, target: str, ground: str) -> list[Scene]:
        """Scenes of the place that stands for a target; forecasts ask for them often."""
        if self._own_ground:
            return self._scenes_of(target)
        if (target, ground) not in self._dates:
            scenes = [scene for scene in self._scenes if scene.surface == ground]
            places = sorted({scene.place for scene in scenes})
            place = places[self._draw(f"place|{target}", len(places))]
            self._dates[target, ground] = [scene for scene in scenes if scene.place == place]
        return self._dates[target, ground]

    def _scenes_of(self, target: str) -> list[Scene]:
        """Scenes of a target's own ground."""
        if target not in self._places:
            raise SceneError(_WITHOUT_SCENE.format(repr(target)))
        return self._places[target]

    def _draw(self, purpose: str, choices: int) -> int:
        digest = hashlib.sha256(f"{self._seed}|{purpose}".encode()).digest()
        return int.from_bytes(digest[:8], "little") % choices


_NEEDS: Final = {
    "library": "list a collection with masks (manifest column label not 'none')",
    "composite": "list a collection with cloud-free scenes (label with cloud_fraction 0)",
    "sequence": "list a collection with masks and ISO dates (manifest columns label and date)",
    "stac": "list a collection that `nephoscope scenes fetch` made",
}

_WITHOUT_SCENE: Final = (
    "scenes.strategy is stac, and no scene with a mask and a date has the place {}; fetch more "
    "with `nephoscope scenes fetch`, or leave these targets out"
)


def _usable(strategy: str, collections: Sequence[SceneCollection]) -> tuple[Scene, ...]:
    """Scenes that serve a strategy, in the order of collections and manifests."""
    labelled = tuple(scene for collection in collections for scene in collection.labelled)
    if strategy == "composite":
        return tuple(s for s in labelled if s.kind == "real" and s.cloud_fraction == 0.0)
    if strategy in ("sequence", "stac"):
        return tuple(scene for scene in labelled if _is_date(scene.date))
    return labelled


def _with_surface(scene: Scene) -> Scene:
    """The scene, its surface read from the pixels where the manifest does not tell it."""
    if scene.surface != UNKNOWN_SURFACE:
        return scene
    return replace(scene, surface=spectral_surface(scene.reflectance(), scene.truth()))


def _with_surface_of_place(scenes: tuple[Scene, ...]) -> tuple[Scene, ...]:
    """The scenes; where the manifest tells no surface, that which most dates of the place show.

    A date under cloud shows none, and one under snow another: the place stays what it is.
    """
    seen: dict[str, Counter[str]] = {}
    for scene in map(_with_surface, scenes):
        if scene.surface != UNKNOWN_SURFACE:
            seen.setdefault(scene.place, Counter())[scene.surface] += 1
    most = {place: min(c, key=lambda name: (-c[name], name)) for place, c in seen.items()}
    return tuple(
        scene
        if scene.surface != UNKNOWN_SURFACE
        else replace(scene, surface=most.get(scene.place, UNKNOWN_SURFACE))
        for scene in scenes
    )


def _identity(scene: Scene) -> str:
    """One line that differs where frames or the choice of them can differ."""
    mask = b"" if scene.mask_path is None else scene.mask_path.read_bytes()
    return "|".join(
        (
            scene.name, scene.label, scene.kind, scene.surface, scene.place, scene.date,
            str(scene.cloud_fraction), str(scene.gsd_m), scene.sha256,
            hashlib.sha256(mask).hexdigest(),
        )
    ) + "\n"  # fmt: skip


def _with_cover(scene: Scene) -> Scene:
    """The scene, its cover counted in the mask where the manifest does not tell it."""
    truth = scene.truth() if scene.cloud_fraction is None else None
    if truth is None:
        return scene
    return replace(scene, cloud_fraction=cover_of(truth))


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _day_of_season(moment: date) -> int:
    """Day of a leap year, so that a date has the same one in every year."""
    return moment.replace(year=_LEAP_YEAR).timetuple().tm_yday
