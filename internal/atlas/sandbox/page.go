package sandbox

import (
	"fmt"
	"net/http"
	"strconv"
)

// Sizes of pages of lists.
const (
	defaultPageSize = 100
	maxPageSize     = 500
)

// page answers with the part of a list that the query asks for: itemsPerPage and pageNum, from 1.
func page[T any](c *call, all []T) answer {
	size, sizeOK := c.queryCount("itemsPerPage", defaultPageSize, maxPageSize)
	number, numberOK := c.queryCount("pageNum", 1, 1<<20)
	if !sizeOK || !numberOK {
		return c.refuse(http.StatusBadRequest, "INVALID_QUERY_PARAMETER",
			fmt.Sprintf("itemsPerPage must be 1 to %d, and pageNum at least 1.", maxPageSize))
	}
	begin := min((number-1)*size, len(all))
	results := append([]T{}, all[begin:min(begin+size, len(all))]...)
	return c.document(http.StatusOK, struct {
		Results    []T `json:"results"`
		TotalCount int `json:"totalCount"`
	}{results, len(all)})
}

// queryCount returns a number of the query, and false when it is not one from 1 to most.
func (c *call) queryCount(name string, usual, most int) (int, bool) {
	text := c.request.URL.Query().Get(name)
	if text == "" {
		return usual, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1 && n <= most
}
