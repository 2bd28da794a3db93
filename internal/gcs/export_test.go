package gcs

// BatchFrom makes a Store send deletes in batches of at least so many; gather, if it is not nil, is what the first delete
// of a batch does while others come.
func BatchFrom(c *Config, deletes int, gather func()) {
	c.BatchDeletes, c.minBatch, c.gather = true, deletes, gather
}
