package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/crossplane/function-sdk-go/errors"
	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/model"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/fn/recipe"
	"github.com/aim-engine/function-aim/input/v1beta1"
)

// Labels of the Object that is a recipe's entry in the catalog. Endpoints ask
// for entries by them: never for all there are.
const (
	labelRecipeModel     = "aim.engine.amd.com/recipe-model"
	labelRecipeNamespace = "aim.engine.amd.com/recipe-namespace"
	labelRecipeScope     = "aim.engine.amd.com/recipe-scope"
	labelRecipe          = "aim.engine.amd.com/recipe"

	// labelUsesRecipe is on an Object of an endpoint that runs a recipe.
	labelUsesRecipe = "aim.engine.amd.com/uses-recipe"

	scopeCluster    = "Cluster"
	scopeNamespaced = "Namespaced"

	// entryKey of the entry's ConfigMap.
	entryKey = "recipe.json"

	environmentConfigAPIVersion = "apiextensions.crossplane.io/v1beta1"
	environmentConfigKind       = "EnvironmentConfig"
	inventoryKey                = "inventory"
)

// modelLabel of a model's id: a readable part, and a hash, since an id can have
// characters that a label cannot.
func modelLabel(id string) string {
	sum := sha256.Sum256([]byte(id))
	return model.Slug(id, 46) + "-" + hex.EncodeToString(sum[:8])
}

// recipeLabel identifies a recipe, whatever the length of its names.
func recipeLabel(r recipe.Reference) string {
	sum := sha256.Sum256([]byte(r.Namespace + "/" + r.Name))
	return hex.EncodeToString(sum[:16])
}

// A catalog is what an endpoint can choose from.
type catalog struct {
	recipes []recipe.Recipe
	// unusable says why nothing can be chosen, with the reason; empty if
	// something can be.
	unusable string
	reason   v1alpha1.ConditionReason
}

// unanswered is a catalog of which Crossplane has yet to tell: it calls again
// with the answer. Until then nothing is chosen.
func (c *catalog) unanswered() {
	c.unusable, c.reason = "it is not known yet which recipes there are", v1alpha1.ReasonNoRecipeForModel
}

// catalogOf an endpoint in a namespace. It narrows what is wanted to the custom
// recipe, if the endpoint names one.
func catalogOf(log logging.Logger, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite, in *v1beta1.Input, namespace string, custom *v1alpha1.RecipeReference, want *recipe.Constraints) (catalog, error) {
	if custom != nil {
		return customCatalog(log, req, rsp, xr, in, namespace, *custom, want)
	}
	builtin, err := recipe.Builtin(want.Model)
	if err != nil {
		return catalog{}, err
	}
	out := catalog{recipes: slices.Clone(builtin)}

	selectors := []map[string]string{
		{labelRecipeModel: modelLabel(want.Model), labelRecipeNamespace: namespace},
		{labelRecipeModel: modelLabel(want.Model), labelRecipeScope: scopeCluster},
	}
	for _, ns := range in.RecipeNamespaces {
		if ns == allNamespaces {
			selectors = []map[string]string{{labelRecipeModel: modelLabel(want.Model)}}
			break
		}
		if ns != namespace {
			selectors = append(selectors, map[string]string{labelRecipeModel: modelLabel(want.Model), labelRecipeNamespace: ns})
		}
	}
	for _, s := range selectors {
		rs, ok, err := entries(log, req, rsp, xr, in, namespace, s)
		if err != nil {
			return catalog{}, err
		}
		if !ok {
			out.unanswered()
		}
		out.recipes = append(out.recipes, rs...)
	}
	return out, nil
}

// customCatalog is the one recipe that an endpoint names: one of a namespace,
// or else, where it names none, one of the platform.
func customCatalog(log logging.Logger, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite, in *v1beta1.Input, namespace string, custom v1alpha1.RecipeReference, want *recipe.Constraints) (catalog, error) {
	ref := recipe.Reference{Namespace: string(custom.Namespace), Name: string(custom.Name)}
	refs := []recipe.Reference{ref}
	if ref.Namespace == "" {
		ref.Namespace = namespace
		refs = []recipe.Reference{ref, {Name: ref.Name}}
	}
	// Which of the two it turns out to be does not change what is asked for.
	want.Custom = &refs[0]
	if !allowed(in, namespace, ref.Namespace) {
		return catalog{reason: v1alpha1.ReasonRecipeNotFound, unusable: fmt.Sprintf(
			"endpoints of namespace %s may not use recipes of namespace %s; copy recipe %s, or ask the platform team to list that namespace in recipeNamespaces of the Composition's input", namespace, ref.Namespace, ref.Name)}, nil
	}
	unknown := catalog{}
	for i := range refs {
		rs, ok, err := entries(log, req, rsp, xr, in, namespace, map[string]string{labelRecipe: recipeLabel(refs[i])})
		if err != nil {
			return catalog{}, err
		}
		if !ok {
			unknown.unanswered()
		}
		for _, r := range rs {
			if r.Name != refs[i].Name || r.Namespace != refs[i].Namespace {
				continue
			}
			if r.Model != want.Model {
				return catalog{reason: v1alpha1.ReasonNoRecipeForModel, unusable: fmt.Sprintf(
					"recipe %s is for model %q, not for %q; change spec.model.id or spec.recipe.customRecipe", refs[i], r.Model, want.Model)}, nil
			}
			r.Source = recipe.SourceCustom
			return catalog{recipes: []recipe.Recipe{r}}, nil
		}
	}

	// It has no entry: it is not there, or it is invalid.
	kind, selector := v1alpha1.KindXAIMRecipe, byLabelsAnywhere(v1alpha1.GroupVersion.String(), v1alpha1.KindXAIMRecipe, map[string]string{labelClaimName: ref.Name, labelClaimNamespace: ref.Namespace})
	if xr.objects() == object.GenerationNamespaced {
		kind, selector = v1alpha1.KindAIMRecipe, byName(v1alpha1.GroupVersion.String(), v1alpha1.KindAIMRecipe, ref.Namespace, ref.Name)
	}
	found, ok, err := require(req, rsp, "custom-recipe", selector)
	if err != nil {
		return catalog{}, err
	}
	if !ok {
		unknown.unanswered()
	}
	if unknown.unusable != "" {
		return unknown, nil
	}
	for _, s := range found {
		c := composite{raw: s}
		if c.kind() != kind || c.str("status", "phase") != string(v1alpha1.RecipeInvalid) {
			continue
		}
		return catalog{reason: v1alpha1.ReasonRecipeInvalid, unusable: fmt.Sprintf(
			"recipe %s is invalid: %s", ref, c.condition(string(v1alpha1.ConditionValid)))}, nil
	}
	return catalog{reason: v1alpha1.ReasonRecipeNotFound, unusable: fmt.Sprintf(
		"there is no AIMRecipe %s; create it, or change spec.recipe.customRecipe", ref)}, nil
}

// allowed says whether endpoints of a namespace may use recipes of another.
func allowed(in *v1beta1.Input, namespace, of string) bool {
	return of == namespace || slices.Contains(in.RecipeNamespaces, of) || slices.Contains(in.RecipeNamespaces, allNamespaces)
}

// entries of the catalog that have some labels, as far as an endpoint of the
// namespace may use them. One that cannot be read is left out: it must not take
// the others with it. It returns false if Crossplane has yet to look.
func entries(log logging.Logger, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr composite, in *v1beta1.Input, namespace string, labels map[string]string) ([]recipe.Recipe, bool, error) {
	found, answered, err := require(req, rsp, "recipes", byLabelsAnywhere(string(xr.objects()), object.Kind, labels))
	if err != nil {
		return nil, false, err
	}
	var out []recipe.Recipe
	for _, s := range found {
		r, ok := entryOf(log, xr, s)
		switch {
		case !ok:
			continue
		case r.Namespace == "":
			r.Source = recipe.SourceCluster
		case r.Namespace == namespace:
			r.Source = recipe.SourceNamespace
		case allowed(in, namespace, r.Namespace):
			r.Source = recipe.SourceCluster
		default:
			continue
		}
		out = append(out, r)
	}
	return out, answered, nil
}

// entryOf an Object.
func entryOf(log logging.Logger, xr composite, s *structpb.Struct) (recipe.Recipe, bool) {
	o := composite{raw: s}
	if o.field("metadata", "deletionTimestamp") != nil {
		return recipe.Recipe{}, false
	}
	data := composite{raw: object.ManifestOf(s)}.str("data", entryKey)
	r, err := recipe.Unmarshal(data)
	if err != nil {
		log.Info("Cannot read an entry of the catalog, going on without", "object", o.name(), "error", err)
		return recipe.Recipe{}, false
	}
	// Whoever may make an Object in a namespace must not make recipes for others.
	if xr.objects() == object.GenerationNamespaced && r.Namespace != o.str("metadata", "namespace") {
		return recipe.Recipe{}, false
	}
	return r, true
}

// inventoryOf the cluster; it says what is wrong with it, if anything is.
func inventoryOf(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, in *v1beta1.Input) ([]recipe.Node, string, error) {
	items := slices.Clone(in.Inventory)
	if f := in.InventoryFrom; f != nil {
		found, ok, err := require(req, rsp, "inventory", byName(environmentConfigAPIVersion, environmentConfigKind, "", f.EnvironmentConfig))
		if err != nil {
			return nil, "", err
		}
		if !ok {
			return nil, "it is not known yet what hardware there is", nil
		}
		if len(found) == 0 {
			return nil, fmt.Sprintf("the platform's inventory is not there: create EnvironmentConfig %s, or correct inventoryFrom in the Composition's input", f.EnvironmentConfig), nil
		}
		more, err := inventoryFrom(found[0])
		if err != nil {
			return nil, fmt.Sprintf("the platform's inventory cannot be used: EnvironmentConfig %s: %v", f.EnvironmentConfig, err), nil
		}
		items = append(items, more...)
	}
	nodes := make([]recipe.Node, 0, len(items))
	for _, i := range items {
		nodes = append(nodes, recipe.Node{Hardware: i.Hardware, GPUs: i.GPUsPerNode})
	}
	return nodes, "", nil
}

// inventoryFrom an EnvironmentConfig.
func inventoryFrom(s *structpb.Struct) ([]v1beta1.InventoryItem, error) {
	data := composite{raw: s}.field("data", inventoryKey)
	if data == nil {
		return nil, errors.Errorf("its data has no key %s", inventoryKey)
	}
	wrapped := struct {
		Inventory []v1beta1.InventoryItem `json:"inventory"`
	}{}
	if err := object.Convert(&structpb.Struct{Fields: map[string]*structpb.Value{inventoryKey: data}}, &wrapped); err != nil {
		return nil, err
	}
	if len(wrapped.Inventory) == 0 {
		return nil, errors.New("it has no nodes")
	}
	return wrapped.Inventory, validateInventory(field.NewPath("data", inventoryKey), wrapped.Inventory).ToAggregate()
}
