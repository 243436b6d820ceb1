package prune

import (
	"strconv"
	"strings"
	"time"

	"github.com/crossplane/function-sdk-go/errors"
	promodel "github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A Document is a policy as a composition renders it: with quantities, and
// durations such as 30d.
type Document struct {
	Strategy Strategy        `json:"strategy,omitempty"`
	MaxAge   string          `json:"maxAge,omitempty"`
	MinFree  string          `json:"minFreeSpace,omitempty"`
	Models   []ModelDocument `json:"models,omitempty"`
	InUse    []string        `json:"inUse,omitempty"`
}

// A ModelDocument is a model in a document.
type ModelDocument struct {
	ID        string   `json:"id"`
	Priority  Priority `json:"priority,omitempty"`
	Retention string   `json:"retention,omitempty"`
	MaxSize   string   `json:"maxSize,omitempty"`
}

// Policy of a document, for a volume of that capacity in bytes.
func (d Document) Policy(capacity int64) (Policy, error) {
	p := Policy{Strategy: d.Strategy, InUse: d.InUse}
	switch d.Strategy {
	case "":
		p.Strategy = StrategyLRU
	case StrategyLRU, StrategyLFU, StrategyFIFO, StrategySize:
	default:
		return Policy{}, errors.Errorf("strategy: there is no %q: it is one of lru, lfu, fifo, size", d.Strategy)
	}
	var err error
	if p.MaxAge, err = Age(d.MaxAge); err != nil {
		return Policy{}, errors.Wrap(err, "maxAge")
	}
	if p.MinFree, err = Amount(d.MinFree, capacity); err != nil {
		return Policy{}, errors.Wrap(err, "minFreeSpace")
	}
	for i, m := range d.Models {
		mp, err := m.model()
		if err != nil {
			return Policy{}, errors.Wrapf(err, "models[%d]", i)
		}
		p.Models = append(p.Models, mp)
	}
	return p, nil
}

func (m ModelDocument) model() (Model, error) {
	out := Model{ID: m.ID, Priority: m.Priority}
	switch m.Priority {
	case "", PriorityLow, PriorityMedium, PriorityHigh:
	default:
		return Model{}, errors.Errorf("priority: there is no %q: it is one of high, medium, low", m.Priority)
	}
	var err error
	if out.Retention, err = Age(m.Retention); err != nil {
		return Model{}, errors.Wrap(err, "retention")
	}
	out.MaxSize, err = Amount(m.MaxSize, 0)
	return out, errors.Wrap(err, "maxSize")
}

// Age parses a duration with days and weeks, such as 30d, 2w or 12h30m. Empty is
// 0.
func Age(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := promodel.ParseDuration(s)
	if err != nil {
		return 0, errors.Errorf("%q is not a duration such as 30d, 2w or 12h", s)
	}
	return time.Duration(d), nil
}

// Amount of bytes: a quantity such as 50Gi, or, of a capacity in bytes, a
// percentage such as 10%. Empty is 0.
func Amount(s string, capacity int64) (int64, error) {
	if s == "" {
		return 0, nil
	}
	if percent, ok := strings.CutSuffix(s, "%"); ok && capacity > 0 {
		f, err := strconv.ParseFloat(percent, 64)
		if err != nil || f < 0 || f > 100 {
			return 0, errors.Errorf("%q is not a percentage", s)
		}
		return int64(f / 100 * float64(capacity)), nil
	}
	q, err := resource.ParseQuantity(s)
	if err != nil || q.Sign() < 0 {
		return 0, errors.Errorf("%q is not a quantity of bytes such as 50Gi", s)
	}
	return q.Value(), nil
}
