package plan

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Settled returns the Services of a cluster as its controller leaves them once it has nothing left to write.
func Settled(s *survey.Survey) ([]corev1.Service, error) {
	w, err := newWorld(s)
	if err != nil {
		return nil, err
	}
	return w.Services, nil
}
