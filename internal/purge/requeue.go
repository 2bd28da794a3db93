package purge

import "context"

// Reopener is the part of the ledger that opens ended requests again.
type Reopener interface {
	// Reopen opens ended requests again, with no failures counted, and returns how many. It leaves a request as it is if
	// it is open, or if another request of the same scope is.
	Reopen(ctx context.Context, ids []RequestID, r Reopening) (int, error)
}

// Restorer puts tasks of open requests into the queue.
type Restorer interface {
	Restore(ctx context.Context, requests []OpenRequest) error
}

// Requeue opens ended requests again and queues their tasks. It returns how many were opened. If the queue fails, they
// are open all the same, and the reconciler queues them.
func Requeue(ctx context.Context, ledger Reopener, queue Restorer, requests []OpenRequest, r Reopening) (int, error) {
	ids := make([]RequestID, len(requests))
	for i, request := range requests {
		ids[i] = request.Request
	}
	n, err := ledger.Reopen(ctx, ids, r)
	if err != nil {
		return n, err
	}
	return n, queue.Restore(ctx, requests)
}

// For returns the Reopening for a request that ended for a reason. What the operator accepts counts only for requests
// that failed because of it.
func (r Reopening) For(reason Reason) Reopening {
	if reason != ReasonFilesMissing {
		r.AcceptMissing = ""
	}
	if reason != ReasonShared {
		r.AcceptShared = ""
	}
	return r
}
