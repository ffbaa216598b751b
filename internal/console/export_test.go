package console

// MaxStreamsOfOne is how many live pages one reader may have open.
const MaxStreamsOfOne = maxStreamsOfOne
