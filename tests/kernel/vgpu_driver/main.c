// SPDX-License-Identifier: GPL-2.0-only
/*
 * vgpu: a sample driver of a PCI device with SR-IOV whose virtual functions
 * are configured as NVIDIA's are. README.md says what it does; here are the
 * physical functions, loading and unloading.
 */
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "vgpu.h"

#define ID_STEP 1000

static LIST_HEAD(cards);
static DEFINE_MUTEX(cards_lock);

static struct vgpu_card *card_of(struct pci_dev *pf)
{
	struct vgpu_card *card, *found = NULL;

	mutex_lock(&cards_lock);
	list_for_each_entry(card, &cards, list)
		if (card->pdev == pf)
			found = card;
	mutex_unlock(&cards_lock);
	return found;
}

static int card_add(struct pci_dev *pdev)
{
	struct vgpu_card *card = kzalloc(sizeof(*card), GFP_KERNEL);

	if (!card)
		return -ENOMEM;
	card->pdev = pdev;
	/* By the slot, not by who came first: a card that is bound again keeps its ids. */
	card->offset = (pdev->bus->number - 1) * ID_STEP;
	mutex_init(&card->lock);
	mutex_lock(&cards_lock);
	list_add_tail(&card->list, &cards);
	mutex_unlock(&cards_lock);
	return 0;
}

static void card_remove(struct pci_dev *pdev)
{
	struct vgpu_card *card = card_of(pdev);

	pci_disable_sriov(pdev);
	mutex_lock(&cards_lock);
	list_del(&card->list);
	mutex_unlock(&cards_lock);
	mutex_destroy(&card->lock);
	kfree(card);
}

static int probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct vgpu_card *card;

	if (!pdev->is_virtfn)
		return card_add(pdev);
	card = card_of(pci_physfn(pdev));
	return card ? vgpu_vf_probe(pdev, card) : -ENODEV;
}

static void remove(struct pci_dev *pdev)
{
	if (pdev->is_virtfn)
		vgpu_vf_remove(pdev);
	else
		card_remove(pdev);
}

static int sriov_configure(struct pci_dev *pdev, int functions)
{
	vgpu_mixed = false;
	return pci_sriov_configure_simple(pdev, functions);
}

static const struct pci_device_id ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT, 0x0010) },	/* qemu's nvme */
	{ }
};

static struct pci_driver vgpu_driver = {
	.name = "nvidia",
	.id_table = ids,
	.probe = probe,
	.remove = remove,
	.sriov_configure = sriov_configure,
	.driver_managed_dma = true,
};

module_pci_driver(vgpu_driver);

MODULE_LICENSE("GPL");
MODULE_VERSION("550.90.05");
MODULE_AUTHOR("mdev-operator");
MODULE_DESCRIPTION("Sample driver whose SR-IOV functions are configured as NVIDIA's vGPUs");
