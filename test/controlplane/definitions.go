package controlplane

import (
	"context"
	"fmt"

	"github.com/aim-engine/function-aim/test/tools"
)

// InstallDefinitions of optional kinds: those of tools.Definitions. There are no
// controllers for them.
func (c *ControlPlane) InstallDefinitions(ctx context.Context, of ...string) error {
	for _, o := range of {
		files, err := tools.Definitions(ctx, o)
		if err != nil {
			return err
		}
		for _, f := range files {
			objs, err := ReadFile(f)
			if err != nil {
				return err
			}
			if err := c.Apply(ctx, objs...); err != nil {
				return err
			}
			for _, crd := range objs {
				if err := c.WaitFor(ctx, patience, crd.GroupVersionKind(), "", crd.GetName(), "Established"); err != nil {
					return fmt.Errorf("%s: %w", f, err)
				}
			}
		}
	}
	return nil
}
