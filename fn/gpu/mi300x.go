package gpu

// MI300X: AMD Instinct MI300X data sheet; PCI ids (its own, HF, and their virtual
// functions) from AMD's k8s-device-plugin.
var _ = register(Accelerator{
	Name:         "MI300X",
	MemoryGiB:    192,
	BandwidthTBs: 5.3,
	Architecture: "gfx942",
	Generation:   300,
	DeviceIDs:    []string{"74a1", "74a9", "74b5", "74bd"},
	Precisions:   precisionsCDNA3,
	Native:       nativeCDNA3,
	MaxPerNode:   8,
})
