package feed

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
)

// Report is part of the RPC service.
func (s service) Report(ctx context.Context, r *trustv1.ReportRequest) (*trustv1.ReportResponse, error) {
	c, err := s.caller(ctx, r.GetService())
	if err != nil {
		return nil, err
	}
	if len(r.GetInstance()) != instanceLen {
		return nil, errInstance
	}
	if err := s.tracker.report(c, string(r.GetInstance()), r.GetSequence()); err != nil {
		return nil, err
	}
	return &trustv1.ReportResponse{}, nil
}

// Missing returns how many of the instances that follow have not said yet that
// they know everything up to a sequence.
func (s *Server) Missing(sequence uint64) int { return s.tracker.missing(s.state.Settled(sequence)) }

// Watching returns how many instances follow.
func (s *Server) Watching() int { return s.tracker.count() }

// Services returns who follows, by service and instance.
func (s *Server) Services() []*bffv1.ServiceInfo {
	now := s.o.Now()
	list := []*bffv1.ServiceInfo{}
	ids := make(map[string][]string)
	for _, w := range s.tracker.all() {
		if _, known := ids[w.service]; !known {
			ids[w.service] = s.keyIDs(w.service)
		}
		info := &bffv1.ServiceInfo{
			Service: w.service, Instance: []byte(w.instance), Verified: w.verified, Since: timestamppb.New(w.since),
			Sequence: w.reported, Reported: timestamppb.New(w.reportedAt), Version: w.version, Settings: w.settings,
			KeyIds: ids[w.service], Address: w.address,
		}
		if at, missed := s.state.MissedSince(w.reported); missed {
			if at.Before(w.since) { // before that it was not to be told here
				at = w.since
			}
			info.Behind = durationpb.New(max(time.Nanosecond, now.Sub(at)))
		}
		list = append(list, info)
	}
	return list
}

func (s *Server) keyIDs(service string) (ids []string) {
	for _, r := range s.state.LinkKeys(service) {
		if s.linkKey(service, r.Message.GetId()) != nil {
			ids = append(ids, r.Message.GetId())
		}
	}
	return ids
}
