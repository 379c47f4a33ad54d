"""Pruners that keep their contract, and many that break it in one way each."""

from support.broken import cases, declared, good, inputs, results

GOOD = [good.GoodStatic, good.GoodWeights, good.GoodDynamic, good.GoodRanking, good.GoodBatch]
#: Check to the pruners that fail it alone.
BROKEN = {
    "options": [declared.SearchOutside, declared.CrashesAtBound, declared.RefusesAtSearch],
    "unknown-option": [declared.TakesAnyOption],
    "needs": [declared.LateSnapshot, declared.UnknownSignal, declared.UnknownTableSignal],
    "valid-indices": [
        results.Duplicates,
        results.OutOfRange,
        results.WrongType,
        results.OneScorePerClass,
    ],
    "exact-k": [results.OneTooFew, results.OneTooMany],
    "weights": [
        results.NegativeWeights,
        results.ShortWeights,
        results.LightSubset,
        results.LongSubset,
        results.AlwaysWeighted,
    ],
    "deterministic": [results.EntropyOfItsOwn, results.FreshGenerator],
    "global-random-state": [results.PythonRandom, results.NumpyRandom, results.TorchRandom],
    "clean-labels": [
        inputs.ReadsCleanLabels,
        inputs.LooksForTest,
        inputs.ReachesInside,
        inputs.ReadsTheCorrupted,
        inputs.LooksForOriginals,
        inputs.LooksAtPixels,
    ],
    "declared-inputs": [inputs.Undeclared],
    "inputs-untouched": [inputs.SortsTheTable, inputs.RelabelsInPlace, inputs.NormalisesTheBatch],
    "permutation": [inputs.LooksAtNeighbours, inputs.NeighbourDynamic],
    "state-round-trip": [cases.Forgetful, cases.StoresALambda],
    "nan-scores": [cases.DropsNaN, cases.WeighsNaN],
    "ties": [cases.FirstAmongTies, cases.LastAmongTies],
    "empty-class": [cases.NeedsEveryClass],
    "short-recipe": [cases.TenEpochs],
    "zero-is-full": [cases.NeverAll, cases.AlwaysHalf, cases.WrongFullAt],
    "budget": [cases.Starves],
    "odd-sizes": [cases.EvenBatches],
}
